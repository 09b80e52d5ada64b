//! The machine's settings as records: made here, since no program in the kernel reads them.

use oomtrace_ebpf::{Header, RecordKind};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::decode::DecodeError;
use crate::host::settings::Settings;

/// The record of settings that were read at `boot_ns`: a header, and JSON.
#[must_use]
pub fn encode(settings: &Settings, boot_ns: u64) -> Vec<u8> {
    // A struct of numbers: this cannot fail.
    let text = serde_json::to_vec(settings).unwrap_or_default();
    let header = Header {
        kind: RecordKind::Settings as u16,
        size: u16::try_from(size_of::<Header>() + text.len()).unwrap_or(u16::MAX),
        boot_ns,
        ..Header::new_zeroed()
    };
    [header.as_bytes(), &text].concat()
}

/// Back again. Settings that this version does not know are left out.
pub(super) fn decode(bytes: &[u8]) -> Result<Settings, DecodeError> {
    let text = bytes.get(size_of::<Header>()..).unwrap_or_default();
    serde_json::from_slice(text).map_err(|_| DecodeError::Settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, decode as decode_any};

    /// Guards recordings: settings come back as they were, and only whole.
    #[test]
    fn settings_come_back() {
        let settings =
            Settings { min_free_kbytes: Some(5), swap_total_bytes: Some(0), ..Settings::default() };
        let bytes = encode(&settings, 7);
        let Ok(Record::Settings(key, read)) = decode_any(&bytes) else { panic!("no settings") };
        assert_eq!((*read, key.boot_ns), (settings, 7));
        assert_eq!(decode_any(&bytes[..bytes.len() - 1]), Err(DecodeError::Settings));
    }

    /// Guards recordings of other versions: a setting that one of both does not know harms nothing.
    #[test]
    fn other_versions_settings_are_read() {
        let mut bytes = encode(&Settings::default(), 7);
        bytes.truncate(size_of::<Header>());
        bytes.extend_from_slice(br#"{"panic_on_oom":2,"of_tomorrow":[1]}"#);
        let Ok(Record::Settings(_, read)) = decode_any(&bytes) else { panic!("no settings") };
        assert_eq!(*read, Settings { panic_on_oom: Some(2), ..Settings::default() });
    }
}
