use std::{collections::BTreeMap, io::Read as _, os::unix::fs::PermissionsExt as _};

use flate2::read::GzDecoder;
use serde_json::json;

use super::*;

fn parts() -> Vec<Part> {
    vec![
        Part::new("a.txt", "a text", Ok(Content::Text("password=hunter2 \u{1b}[2J".to_owned()))),
        Part::new("dir/b.json", "a document", Ok(Content::Json(json!({"token": "hunter2"})))),
        Part::new("c.txt", "what is not there", Err("https://me:hunter2@host/ is out of reach".to_owned())),
    ]
}

fn unpacked(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut archive = tar::Archive::new(GzDecoder::new(bytes));
    let files = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), text)
    });
    files.collect()
}

/// Guards what is in an archive: every part or its reason, nothing unmasked, and the same bytes each time.
#[test]
fn everything_is_listed_and_masked() {
    let (mut bytes, mut again) = (Vec::new(), Vec::new());
    fill(&mut bytes, parts(), Timestamp::UNIX_EPOCH).unwrap();
    fill(&mut again, parts(), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(bytes, again);
    let files = unpacked(&bytes);
    assert_eq!(
        files.keys().collect::<Vec<_>>(),
        ["README.txt", "a.txt", "dir/b.json", "manifest.json"]
            .map(|name| format!("{FOLDER}/{name}"))
            .iter()
            .collect::<Vec<_>>()
    );
    for (name, text) in &files {
        assert!(!text.contains("hunter2") && !text.contains('\u{1b}'), "{name}: {text}");
    }
    let manifest: Value = serde_json::from_str(&files[&format!("{FOLDER}/manifest.json")]).unwrap();
    assert_eq!(manifest["files"][0]["bytes"], files[&format!("{FOLDER}/a.txt")].len());
    assert_eq!(manifest["files"][2]["absent"], "https://me:***@host/ is out of reach");
}

/// Guards other files: what is there stays as it is; and the archive is its owner's alone.
#[test]
fn nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.tar.gz");
    write(&path, parts(), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read(&path).unwrap();
    let error = write(&path, Vec::new(), Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(error.to_string().contains("--output"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    assert!(write(&link, parts(), Timestamp::UNIX_EPOCH).is_err(), "a link is somebody else's file");
}

/// Guards against half an archive that passes for one.
#[test]
fn a_full_disk_is_an_error() {
    struct Full(usize);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.0);
            self.0 -= fits;
            if fits == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(fits) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut whole = Vec::new();
    fill(&mut whole, parts(), Timestamp::UNIX_EPOCH).unwrap();
    for room in [0, 10, whole.len() - 1] {
        let error = fill(Full(room), parts(), Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{room}");
    }
    assert!(fill(Full(whole.len()), parts(), Timestamp::UNIX_EPOCH).is_ok());
}
