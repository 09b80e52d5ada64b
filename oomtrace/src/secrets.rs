//! Secrets on command lines. They are masked before anything is stored or sent: by what options, variables and programs
//! call theirs, and by what the well-known ones look like. Better one word too many than one too few.

mod text;
mod value;

use std::ops::Range;

pub use text::masked_text;
pub use value::mask;

/// In place of a secret.
pub const MASK: &[u8] = b"***";

/// What a secret is called, as a word of its own.
const WORDS: [&str; 22] = [
    "password",
    "passwd",
    "passphrase",
    "passin",
    "passout",
    "pass",
    "pwd",
    "secret",
    "secrets",
    "token",
    "apikey",
    "credential",
    "credentials",
    "authorization",
    "jwt",
    "bearer",
    "cookie",
    "accesskey",
    "privatekey",
    "secretkey",
    "signature",
    "psk",
];
/// How such a word ends.
const ENDINGS: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "token", "apikey", "storepass", "keypass"];
/// What a key is that is secret.
const KEYS: [&str; 9] =
    ["api", "access", "private", "secret", "auth", "encryption", "signing", "account", "master"];
/// The last word of a name that is about a secret and not one.
const ABOUT: [&str; 12] =
    ["file", "path", "dir", "stdin", "env", "fd", "id", "length", "ttl", "type", "mode", "name"];
/// How well-known tokens begin.
const TOKENS: [&[u8]; 17] = [
    b"ghp_",
    b"gho_",
    b"ghu_",
    b"ghs_",
    b"ghr_",
    b"github_pat_",
    b"glpat-",
    b"xoxb-",
    b"xoxp-",
    b"xoxa-",
    b"sk-",
    b"sk_live_",
    b"AKIA",
    b"ASIA",
    b"eyJ",
    b"hvs.",
    b"-----BEGIN",
];
/// What follows at least, for it to be one.
const TOKEN_LEN: usize = 8;
/// Options of programs that take a secret by a letter, in the next argument or in the same one. Elsewhere the letter means
/// something else.
const LETTERS: [(&[&str], &[u8]); 8] = [
    (&["mysql", "mysqldump", "mysqladmin", "mysqlimport", "mariadb", "mariadb-dump", "mariadb-admin"], b"-p"),
    (&["sshpass", "mongo", "mongosh", "mongodump", "mongorestore"], b"-p"),
    (&["redis-cli"], b"-a"),
    (&["curl"], b"-u"),
    (&["ldapsearch", "ldapadd", "ldapmodify", "ldapwhoami"], b"-w"),
    (&["sqlcmd", "bcp"], b"-P"),
    (&["smbclient", "rpcclient"], b"-U"),
    (&["zip", "unzip", "7z", "7za"], b"-P"),
];

/// A command line, its arguments ended by NUL as in memory, without what looks like a secret.
#[must_use]
pub fn masked(cmdline: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(cmdline.len());
    let mut program = String::new();
    // What the argument before says of this one.
    let mut secret = false;
    for (place, argument) in cmdline.split(|byte| *byte == 0).enumerate() {
        if place > 0 {
            shown.push(0);
        }
        if place == 0 {
            program = base_name(argument);
        }
        if std::mem::take(&mut secret) {
            if !argument.is_empty() {
                shown.extend(MASK);
            }
            continue;
        }
        let letter = if place > 0 { letter(&program, argument) } else { Letter::None };
        secret = matches!(letter, Letter::Next) || (place > 0 && announces(argument));
        match letter {
            Letter::Here(from) => {
                shown.extend(argument.get(..from).unwrap_or_default());
                shown.extend(MASK);
            }
            Letter::Next | Letter::None => replace(argument, &mut shown),
        }
    }
    shown
}

/// Whether an option like `--password` is about the next argument.
fn announces(argument: &[u8]) -> bool {
    argument.starts_with(b"-") && !argument.iter().any(|byte| b"=: ".contains(byte)) && is_secret(argument)
}

enum Letter {
    None,
    /// The next argument is a secret.
    Next,
    /// This one is, from this byte on.
    Here(usize),
}

fn letter(program: &str, argument: &[u8]) -> Letter {
    let of_program = LETTERS.iter().find(|(programs, _)| programs.contains(&program));
    match of_program.and_then(|(_, option)| argument.strip_prefix(*option)) {
        None => Letter::None,
        // Alone it makes mysql ask; what comes next is the database.
        Some([]) if program.starts_with("mysql") || program.starts_with("mariadb") => Letter::None,
        Some([]) => Letter::Next,
        Some(_) => Letter::Here(2),
    }
}

fn base_name(path: &[u8]) -> String {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// Adds an argument without the secrets that are in it.
fn replace(argument: &[u8], to: &mut Vec<u8>) {
    let mut at = 0;
    for secret in secrets(argument) {
        if secret.start >= at {
            to.extend(argument.get(at..secret.start).unwrap_or_default());
            to.extend(MASK);
        }
        at = at.max(secret.end);
    }
    to.extend(argument.get(at..).unwrap_or_default());
}

/// Where secrets are in an argument, in order.
fn secrets(argument: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for at in 0..argument.len() {
        let (before, here) = argument.split_at(at);
        if here.starts_with(b"=") || (here.starts_with(b":") && !here.starts_with(b"://")) {
            // Up to the end: nobody knows which letters a secret may have.
            if at + 1 < argument.len() && is_secret(name_at_end(before)) {
                found.push(at + 1..argument.len());
                break;
            }
        }
        if here.starts_with(b"://")
            && let Some(secret) = user_info(here)
        {
            found.push(at + secret.start..at + secret.end);
        }
        if !before.last().is_some_and(u8::is_ascii_alphanumeric)
            && let Some(len) = token(here)
        {
            found.push(at..at + len);
        }
    }
    found.sort_by_key(|secret| secret.start);
    found
}

/// The name before a `=` or a `:`, as of an option, a variable, a header or a JSON object.
fn name_at_end(before: &[u8]) -> &[u8] {
    let before = before.trim_ascii_end();
    let before = before.strip_suffix(b"\"").or_else(|| before.strip_suffix(b"'")).unwrap_or(before);
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    let len = before.iter().rev().take_while(|byte| is_of_name(byte)).count();
    before.get(before.len() - len..).unwrap_or_default()
}

/// The secret of `://user:secret@host`, or of `://secret@host` if it is as long as one.
fn user_info(here: &[u8]) -> Option<Range<usize>> {
    const SKIPPED: usize = 3;
    const LONG: usize = 16;
    let authority = here.get(SKIPPED..)?;
    let end = authority.iter().position(|byte| b"/?#\"' ".contains(byte)).unwrap_or(authority.len());
    let at = authority.get(..end)?.iter().rposition(|byte| *byte == b'@')?;
    let user = authority.get(..at)?;
    match user.iter().position(|byte| *byte == b':') {
        Some(colon) => Some(SKIPPED + colon + 1..SKIPPED + at),
        None if at >= LONG => Some(SKIPPED..SKIPPED + at),
        None => None,
    }
}

/// The length of a well-known token that begins here.
fn token(here: &[u8]) -> Option<usize> {
    let prefix = TOKENS.into_iter().find(|prefix| here.starts_with(prefix))?;
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.+/=".contains(byte);
    if prefix.starts_with(b"-----") {
        return Some(here.len());
    }
    let len = here.iter().take_while(|byte| is_of_token(byte)).count();
    (len >= prefix.len() + TOKEN_LEN).then_some(len)
}

/// Whether a secret is called so.
fn is_secret(name: &[u8]) -> bool {
    let words = words(name);
    let about = words.last().is_some_and(|last| ABOUT.contains(&last.as_str()));
    let one =
        |word: &String| WORDS.contains(&word.as_str()) || ENDINGS.iter().any(|ending| word.ends_with(ending));
    let key = |pair: &[String]| matches!(pair, [of, key] if (key == "key" || key == "keys") && KEYS.contains(&of.as_str()));
    !about && (words.iter().any(one) || words.windows(2).any(key))
}

/// The words of a name, in lower case: `--api-key`, `API_KEY`, `apiKey`.
fn words(name: &[u8]) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower = false;
    for byte in name {
        let apart = !byte.is_ascii_alphanumeric();
        if (apart || (lower && byte.is_ascii_uppercase()))
            && words.last().is_some_and(|last| !last.is_empty())
        {
            words.push(String::new());
        }
        if !apart && let Some(last) = words.last_mut() {
            last.push(char::from(byte.to_ascii_lowercase()));
        }
        lower = byte.is_ascii_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(arguments: &[&str]) -> String {
        let masked = masked(arguments.join("\0").as_bytes());
        String::from_utf8(masked).unwrap().replace('\0', " ")
    }

    /// Guards secrets by their name: options, variables, properties, headers, JSON, connection strings.
    #[test]
    fn what_is_called_a_secret_is_masked() {
        for (arguments, expected) in [
            (&["app", "--password=hunter2", "-v"][..], "app --password=*** -v"),
            (&["app", "--password", "hunter2", "-v"], "app --password *** -v"),
            (&["app", "--db.apiKey", "x"], "app --db.apiKey ***"),
            (
                &["java", "-Djavax.net.ssl.keyStorePassword=s3cret", "-jar", "a.jar"],
                "java -Djavax.net.ssl.keyStorePassword=*** -jar a.jar",
            ),
            (
                &["env", "PGPASSWORD=x y", "AWS_SECRET_ACCESS_KEY=abc", "psql"],
                "env PGPASSWORD=*** AWS_SECRET_ACCESS_KEY=*** psql",
            ),
            (&["curl", "-H", "Authorization: Bearer abc"], "curl -H Authorization:***"),
            (&["app", "{\"password\": \"x\"}"], "app {\"password\":***"),
            (&["app", "Server=db;Uid=me;Pwd=x;"], "app Server=db;Uid=me;Pwd=***"),
            (&["openssl", "rsa", "-passin", "pass:x"], "openssl rsa -passin ***"),
            (&["sh", "-c", "TOKEN=abc exec app"], "sh -c TOKEN=***"),
            (&["sh", "-c", "password = abc"], "sh -c password =***"),
        ] {
            assert_eq!(shown(arguments), expected);
        }
    }

    /// Guards secrets by their look, and by the letters of programs that take them so.
    #[test]
    fn what_looks_like_a_secret_is_masked() {
        for (arguments, expected) in [
            (
                &["psql", "postgres://me:hunter2@db:5432/shop?x=1"][..],
                "psql postgres://me:***@db:5432/shop?x=1",
            ),
            (
                &["git", "clone", "https://ghp_0123456789abcdef0123@github.com/a/b"],
                "git clone https://***@github.com/a/b",
            ),
            (&["app", "ghp_0123456789abcdef0123"], "app ***"),
            (&["app", "eyJhbGciOiJIUzI1NiJ9.e30.abc"], "app ***"),
            (&["mysql", "-uroot", "-phunter2", "shop"], "mysql -uroot -p*** shop"),
            (&["mysql", "-uroot", "-p", "shop"], "mysql -uroot -p shop"),
            (&["/usr/bin/redis-cli", "-a", "x", "ping"], "/usr/bin/redis-cli -a *** ping"),
            (&["curl", "-u", "me:x", "https://host/"], "curl -u *** https://host/"),
        ] {
            assert_eq!(shown(arguments), expected);
        }
    }

    /// Guards what an operator needs to see.
    #[test]
    fn the_rest_stays_as_it_is() {
        for arguments in [
            &["java", "-Xmx700m", "-XX:MaxRAMPercentage=75", "-jar", "/srv/shop.jar"][..],
            &["node", "--max-old-space-size=4096", "server.js"],
            &["llm", "--max-tokens=4096", "--tokenizer", "x"],
            &["app", "--password-file=/run/secrets/db", "--token-ttl", "5m", "--port", "80"],
            &["postgres", "-D", "/var/lib/postgresql", "-p", "5432"],
            &["ssh", "git@github.com", "http://host:80/a@b", "compass=1", "bypass=2"],
            &["stress-ng", "--vm", "2", "--vm-bytes", "90%"],
            &["nginx: worker process"],
            &["", "", ""],
            &["--password"],
        ] {
            assert_eq!(shown(arguments), arguments.join(" "));
        }
    }

    /// Guards the form: as many arguments as before, whatever bytes they have.
    #[test]
    fn arguments_stay_apart() {
        let hostile = b"\xff\0--password\0\0-p\0=\0:\0://@\0://:@\0password=\0\xffpassword=\xfe\0";
        let count = |bytes: &[u8]| bytes.split(|byte| *byte == 0).count();
        assert_eq!(count(&masked(hostile)), count(hostile));
        assert!(!masked(hostile).contains(&0xfe));
        assert_eq!(masked(b""), b"");
    }
}
