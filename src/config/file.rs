//! Reads files up to a maximum size.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// The largest file that is read, in bytes: 1 MiB, some 10,000 targets.
pub(super) const MAX_SIZE: u64 = 1024 * 1024;

/// Returns the content of the file at `path`; see [`read_from`].
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_from(File::open(path)?)
}

/// Reads `reader` to its end. More than [`MAX_SIZE`] is an error, and is not kept in memory.
pub(super) fn read_from(reader: impl io::Read) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    reader.take(MAX_SIZE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_SIZE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 1 MiB"));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_largest_size_is_read_and_one_byte_more_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_SIZE).unwrap();
        assert_eq!(read(file.path()).unwrap().len() as u64, MAX_SIZE);
        file.as_file().set_len(MAX_SIZE + 1).unwrap();
        assert_eq!(read(file.path()).unwrap_err().to_string(), "it is larger than 1 MiB");
    }

    #[test]
    fn an_endless_file_is_an_error() {
        assert_eq!(read(Path::new("/dev/zero")).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
