//! What the service manager is told: that the agent is ready, how it is, that it is still alive (sd_notify(3)).
//!
//! A datagram to the socket that NOTIFY_SOCKET names. Not being told by one is no failure of ours: without a service manager
//! nothing is sent, and what cannot be sent is dropped.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use crate::text::printable;

/// Longer statuses are cut, bytes.
const LONGEST_STATUS: usize = 512;

/// See the module.
#[derive(Debug)]
pub struct Notify {
    to: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// By what the service manager put into the environment. Why it cannot be told anything, if it wants to be.
    pub fn from_environment() -> io::Result<Self> {
        let pid = env::var_os("WATCHDOG_PID");
        let watchdog = pid
            .is_none_or(|pid| pid.to_str().is_some_and(|pid| pid.parse() == Ok(std::process::id())))
            .then(|| env::var("WATCHDOG_USEC").ok()?.parse().ok())
            .flatten();
        Self::to(env::var_os("NOTIFY_SOCKET").as_deref(), watchdog)
    }

    fn to(socket: Option<&OsStr>, watchdog_usec: Option<u64>) -> io::Result<Self> {
        let address = match socket.map(OsStr::as_bytes) {
            None | Some([]) => None,
            Some([b'@', name @ ..]) => Some(SocketAddr::from_abstract_name(name)?),
            Some([b'/', ..]) => socket.map(SocketAddr::from_pathname).transpose()?,
            Some(_) => {
                let said = printable(&socket.map(OsStr::to_string_lossy).unwrap_or_default());
                let reason = format!("NOTIFY_SOCKET is {said}, which is neither a path nor an abstract name");
                return Err(io::Error::new(io::ErrorKind::Unsupported, reason));
            }
        };
        let to = address.map(|address| {
            let socket = UnixDatagram::unbound()?;
            // The agent does not wait for whoever looks after it.
            socket.set_nonblocking(true)?;
            io::Result::Ok((socket, address))
        });
        Ok(Self { to: to.transpose()?, watchdog: watchdog_usec.map(Duration::from_micros) })
    }

    /// How often [`Self::alive`] is to be called: half of the time after which the service manager would start the agent anew.
    /// `None`: it does not watch.
    #[must_use]
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.to.as_ref()?;
        self.watchdog.map(|watchdog| watchdog / 2).filter(|interval| !interval.is_zero())
    }

    /// The agent traces, with this to be shown as its status. Also after a reload.
    pub fn ready(&self, status: &str) {
        self.send(&format!("READY=1\n{}", status_line(status)));
    }

    /// Shows this as the agent's status.
    pub fn status(&self, status: &str) {
        self.send(&status_line(status));
    }

    /// The agent reads its settings anew, until [`Self::ready`].
    pub fn reloading(&self) {
        // The clock by which the service manager tells this reload from others. It cannot fail.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let usec = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}"));
    }

    /// The agent ends.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// The agent gets on.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    fn send(&self, state: &str) {
        if let Some((socket, address)) = &self.to {
            let _ = socket.send_to_addr(state.as_bytes(), address);
        }
    }
}

/// A status on one line, whatever names are in it.
fn status_line(status: &str) -> String {
    let status = printable(status);
    let end = status.floor_char_boundary(LONGEST_STATUS);
    format!("STATUS={}", status.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 2048];
        let count = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }

    fn tell_all(notify: &Notify, socket: &UnixDatagram) {
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        notify.ready("tier trampoline\nWATCHDOG_USEC=1\u{1b}[2J");
        assert_eq!(heard(socket), "READY=1\nSTATUS=tier trampoline\\nWATCHDOG_USEC=1\\u{1b}[2J");
        notify.status(&"ä".repeat(1000));
        assert_eq!(heard(socket), format!("STATUS={}", "ä".repeat(256)));
        notify.reloading();
        let reloading = heard(socket);
        let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
        assert!(usec > 0);
        notify.alive();
        assert_eq!(heard(socket), "WATCHDOG=1");
        notify.stopping();
        assert_eq!(heard(socket), "STOPPING=1");
    }

    /// Guards what systemd is told, word by word, over a socket as it has them; and against a status that sets something else.
    #[test]
    fn a_service_manager_hears() {
        let path = env::temp_dir().join(format!("oomtrace-notify-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        tell_all(&Notify::to(Some(path.as_os_str()), None).unwrap(), &socket);
        std::fs::remove_file(&path).unwrap();
    }

    /// Guards abstract sockets, which containers have.
    #[test]
    fn an_abstract_socket_hears() {
        let name = format!("oomtrace-notify-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        tell_all(&Notify::to(Some(&OsString::from(format!("@{name}"))), None).unwrap(), &socket);
    }

    /// Guards the agent against a manager that is not there, or takes nothing.
    #[test]
    fn nobody_has_to_listen() {
        let none = Notify::to(None, Some(10)).unwrap();
        none.ready("x");
        assert_eq!(none.watchdog_interval(), None);
        let gone = Notify::to(Some(OsStr::new("/nonexistent/notify")), Some(20_000_000)).unwrap();
        gone.ready("x");
        assert_eq!(gone.watchdog_interval(), Some(Duration::from_secs(10)));
        assert!(Notify::to(Some(OsStr::new("vsock:2:1")), None).is_err());
        // Nobody reads: the queue of datagrams fills up, and that delays nobody.
        let name = format!("oomtrace-notify-full-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let full = Notify::to(Some(&OsString::from(format!("@{name}"))), None).unwrap();
        (0..10_000).for_each(|_| full.alive());
        drop(socket);
    }
}
