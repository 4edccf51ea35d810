use super::*;
use crate::lock::lock;

use std::collections::HashMap;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};

use tokio::time::{Instant, timeout};

/// A period for real time.
const OFTEN: Duration = Duration::from_millis(5);
/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(20);

/// A disk on which every file exists, and the file `hangs` hangs until it is released.
#[derive(Clone, Default)]
struct Fake(Arc<(Mutex<FakeState>, Condvar)>);

#[derive(Default)]
struct FakeState {
    is_released: bool,
    looks: HashMap<PathBuf, u32>,
    reads: HashMap<PathBuf, u32>,
}

impl Fake {
    fn release(&self) {
        lock(&self.0.0).is_released = true;
        self.0.1.notify_all();
    }

    fn looks(&self, path: &str) -> u32 {
        lock(&self.0.0).looks.get(Path::new(path)).copied().unwrap_or(0)
    }

    fn reads(&self, path: &str) -> u32 {
        lock(&self.0.0).reads.get(Path::new(path)).copied().unwrap_or(0)
    }

    fn hang(&self, path: &Path) {
        if path.ends_with("hangs") {
            drop(self.0.1.wait_while(lock(&self.0.0), |state| !state.is_released).unwrap());
        }
    }
}

const EXISTS: Fingerprint = Fingerprint::Special { inode: (1, 1) };

impl Disk for Fake {
    fn look(&self, path: &Path) -> Fingerprint {
        *lock(&self.0.0).looks.entry(path.to_owned()).or_default() += 1;
        self.hang(path);
        EXISTS
    }

    fn read(&self, path: &Path, found: Fingerprint) -> Snapshot {
        *lock(&self.0.0).reads.entry(path.to_owned()).or_default() += 1;
        self.hang(path);
        Snapshot { content: Ok(Content(Arc::new(Zeroizing::new(Vec::new())))), fingerprint: found }
    }
}

/// Waits in real time until `holds`.
async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(OFTEN).await;
        }
    };
    timeout(LONG, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

fn fifo(path: &Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
}

fn text(content: &Result<Content, ReadError>) -> String {
    String::from_utf8(content.as_ref().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_reader_that_hangs_is_left_behind_once_and_not_started_again_until_it_returns() {
    let disk = Fake::default();
    let files = Files::on(disk.clone());
    let path = Path::new("hangs");
    let read = async || files.read(path).await.content.unwrap_err().to_string();
    let start = Instant::now();
    assert_eq!(read().await, "no answer within 2 s");
    assert!(start.elapsed() >= LIMIT);
    for _ in 0..10 {
        assert_eq!(read().await, "no answer within 2 s");
    }
    assert!(start.elapsed() < LIMIT * 10, "only the first read waits");
    assert_eq!(disk.looks("hangs"), 1, "one reader");
    assert!(files.read(Path::new("other")).await.content.is_ok());
    disk.release();
    eventually("it returns", || !files.0.is_left_behind(path)).await;
    assert!(files.read(path).await.content.is_ok());
}

#[tokio::test]
async fn those_who_read_a_file_at_once_share_a_reader() {
    let disk = Fake::default();
    let files = Files::on(disk.clone());
    let blocked = {
        let files = files.clone();
        std::thread::spawn(move || files.read_blocking(Path::new("hangs")).content.is_ok())
    };
    eventually("it is read", || disk.looks("hangs") == 1).await;
    let release = async {
        tokio::task::yield_now().await;
        disk.release();
    };
    let path = Path::new("hangs");
    let (one, other, ()) = tokio::join!(files.read(path), files.read(path), release);
    assert!(one.content.is_ok() && other.content.is_ok() && blocked.join().unwrap());
    assert_eq!(disk.reads("hangs"), 1);
}

#[tokio::test]
async fn a_pipe_without_a_writer_gives_no_answer_and_a_file_in_its_place_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    fifo(&path);
    let files = Files::system();
    let read = timeout(LONG, files.read(&path)).await.expect("it ends without a writer");
    assert!(matches!(read.content, Err(ReadError::NoAnswer)));
    eventually("its reader returns", || !files.0.is_left_behind(&path)).await;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "regular").unwrap();
    assert_eq!(text(&files.read(&path).await.content), "regular");
}

#[tokio::test]
async fn a_pipe_is_read_once_to_its_end_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (path, link) = (folder.path().join("pipe"), folder.path().join("link"));
    fifo(&path);
    symlink(&path, &link).unwrap();
    let writer = {
        let path = path.clone();
        std::thread::spawn(move || {
            let mut pipe = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            for part in ["s3", "cr", "et"] {
                pipe.write_all(part.as_bytes()).unwrap();
                pipe.flush().unwrap();
            }
        })
    };
    let files = Files::system();
    for _ in 0..2 {
        assert_eq!(text(&files.read(&link).await.content), "s3cret");
    }
    writer.join().unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(text(&files.read(&link).await.content), "s3cret", "it was removed after it was read");
    std::fs::write(&path, "regular").unwrap();
    assert_eq!(text(&files.read(&link).await.content), "regular", "another file took its place");
}

#[test]
fn a_file_of_the_largest_size_is_read_and_one_byte_more_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let read = || Files::system().read_blocking(file.path()).content;
    file.as_file().set_len(MAX_SIZE as u64).unwrap();
    assert_eq!(read().unwrap().len(), MAX_SIZE);
    file.as_file().set_len(MAX_SIZE as u64 + 1).unwrap();
    assert_eq!(read().unwrap_err().to_string(), "it is larger than 1 MiB");
    let endless = Files::system().read_blocking(Path::new("/dev/zero")).content;
    assert_eq!(endless.unwrap_err().to_string(), "it is larger than 1 MiB");
}

#[test]
fn a_missing_file_and_a_folder_are_errors_in_the_systems_words() {
    let error = |path: &str| Files::system().read_blocking(Path::new(path)).content.unwrap_err().to_string();
    assert_eq!(error("/nonexistent/key"), "No such file or directory (os error 2)");
    assert_eq!(error("/"), "Is a directory (os error 21)");
}

#[test]
fn a_content_is_not_shown() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "hunter2").unwrap();
    let snapshot = Files::system().read_blocking(file.path());
    assert!(format!("{snapshot:?}").contains("Content(7 bytes)"));
    assert!(!format!("{snapshot:?}").contains("hunter2"));
}

#[test]
fn an_escaped_path_is_that_of_no_other_file() {
    let escaped = |name: &[u8]| super::escaped(Path::new(std::ffi::OsStr::from_bytes(name)));
    assert_eq!(escaped("/etc/über 1.yaml".as_bytes()), "/etc/über 1.yaml");
    let names = [&b"a\xff"[..], b"a\xfe", b"a\\xff", b"a\\\\xff", "a\u{fffd}".as_bytes()].map(escaped);
    assert_eq!(names, ["a\\xff", "a\\xfe", "a\\\\xff", "a\\\\\\\\xff", "a\u{fffd}"]);
}

#[tokio::test]
async fn a_change_between_reading_and_watching_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    std::fs::write(&path, "old").unwrap();
    let files = Files::system();
    let read = files.read(&path).await;
    std::fs::write(&path, "new").unwrap();
    let _running = tokio::spawn(files.clone().run_every(OFTEN));
    timeout(LONG, files.watch_since(&path, read.fingerprint).changed()).await.unwrap();
}

#[tokio::test]
async fn a_file_that_changes_disappears_or_appears_is_noticed_by_all_and_looked_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "old").unwrap();
    let files = Files::system();
    let _running = tokio::spawn(files.clone().run_every(OFTEN));
    let mut watching = [files.watch(&path), files.watch(&path)];
    for step in ["new", "", "again"] {
        for file in &mut watching {
            drop(file.read().await);
        }
        match step {
            "" => std::fs::remove_file(&path).unwrap(),
            content => std::fs::write(&path, content).unwrap(),
        }
        for file in &mut watching {
            // A recent change may be noticed twice.
            let noticed = async {
                loop {
                    file.changed().await;
                    if file.read().await.map_or_else(|_| String::new(), |it| text(&Ok(it))) == step {
                        break;
                    }
                }
            };
            timeout(LONG, noticed).await.unwrap_or_else(|_| panic!("{step:?} is not noticed"));
        }
    }
}

#[tokio::test]
async fn a_file_that_stays_as_it_was_read_is_no_change() {
    let disk = Fake::default();
    let files = Files::on(disk.clone());
    let _running = tokio::spawn(files.clone().run_every(OFTEN));
    let _other = files.watch(Path::new("other"));
    let mut watching = [files.watch(Path::new("still")), files.watch(Path::new("still"))];
    for file in &mut watching {
        assert!(file.read().await.is_ok());
    }
    let [one, other] = &mut watching;
    let any = async {
        tokio::select! { () = one.changed() => {}, () = other.changed() => {} }
    };
    // Counted in rounds: how many there are in a time depends on the machine.
    let rounds = || disk.looks("other");
    let until = rounds() + 10;
    tokio::select! {
        () = any => panic!("it has changed"),
        () = eventually("files are looked at", || rounds() >= until) => {}
    }
    let looks = disk.looks("still");
    assert!((9..=3 + rounds()).contains(&looks), "one look a round, besides those of the two reads: {looks}");
}

#[tokio::test]
async fn a_file_that_hangs_does_not_keep_others_from_being_watched() {
    let disk = Fake::default();
    let files = Files::on(disk.clone());
    let hanging: Vec<_> = (0..10).map(|number| files.watch(Path::new(&format!("{number}/hangs")))).collect();
    let _other = files.watch(Path::new("other"));
    let _running = tokio::spawn(files.clone().run_every(OFTEN));
    eventually("the other file is watched", || disk.looks("other") > 5).await;
    for number in 0..10 {
        assert!(disk.looks(&format!("{number}/hangs")) <= 1);
    }
    disk.release();
    for mut file in hanging {
        timeout(LONG, file.changed()).await.expect("it is watched again");
    }
}

#[tokio::test]
async fn a_file_whose_reader_returns_late_has_changed() {
    let disk = Fake::default();
    let files = Files::on(disk.clone());
    let _running = tokio::spawn(files.clone().run_every(OFTEN));
    let mut file = files.watch(Path::new("hangs"));
    assert!(matches!(file.read().await, Err(ReadError::NoAnswer)));
    assert!(timeout(OFTEN * 20, file.changed()).await.is_err(), "the reader still hangs");
    disk.release();
    let read = async {
        loop {
            file.changed().await;
            if file.read().await.is_ok() {
                break;
            }
        }
    };
    timeout(LONG, read).await.expect("it is read when its reader has returned");
}

#[tokio::test]
async fn nobody_looks_at_files_that_are_not_watched_any_more() {
    let disk = Fake::default();
    let files = Files::on(disk.clone());
    let _running = tokio::spawn(files.clone().run_every(OFTEN));
    drop(files.watch(Path::new("forgotten")));
    tokio::time::sleep(OFTEN * 10).await;
    assert_eq!(disk.looks("forgotten"), 0);
}

#[tokio::test]
async fn a_change_that_was_read_before_it_was_looked_at_is_reported_once_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "old").unwrap();
    let files = Files::system();
    let mut file = files.watch(&path);
    // Nobody looks after this.
    let running = tokio::spawn(files.clone().run_every(LONG));
    timeout(LONG, file.changed()).await.expect("it is looked at once");
    std::fs::write(&path, "newer").unwrap();
    let mut reported = 0;
    let reads = async {
        loop {
            drop(file.read().await);
            file.changed().await;
            reported += 1;
        }
    };
    let _: Result<(), _> = timeout(OFTEN * 40, reads).await;
    running.abort();
    assert!(reported <= 1, "{reported} times");
}

#[tokio::test]
async fn a_pipe_that_was_kept_and_is_gone_has_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    fifo(&path);
    let writer = std::thread::spawn({
        let path = path.clone();
        move || std::fs::write(path, "s3cret").unwrap()
    });
    let files = Files::system();
    let _running = tokio::spawn(files.clone().run_every(OFTEN));
    let mut file = files.watch(&path);
    assert_eq!(text(&file.read().await), "s3cret");
    writer.join().unwrap();
    std::fs::remove_file(&path).unwrap();
    let mut reported = 0;
    let reads = async {
        loop {
            file.changed().await;
            assert_eq!(text(&file.read().await), "s3cret");
            reported += 1;
        }
    };
    let _: Result<(), _> = timeout(OFTEN * 40, reads).await;
    assert!(reported <= 1, "{reported} times");
}

#[tokio::test]
async fn a_search_finds_files_in_any_folder_and_no_folders() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("two/az"), "").unwrap();
    std::fs::create_dir(folder.path().join("one/azd")).unwrap();
    let path = std::env::join_paths(["missing", "one", "two"].map(|it| folder.path().join(it))).unwrap();
    assert_eq!(Files::system().search(path, &["az", "azd"]).await.unwrap(), ["az"]);
}

#[tokio::test]
async fn a_search_that_hangs_is_left_behind_once_and_not_started_again_until_it_returns() {
    let disk = Fake::default();
    let files = Files::on(disk.clone());
    let start = Instant::now();
    for _ in 0..2 {
        let error = files.search("".into(), &["hangs"]).await.unwrap_err();
        assert!(matches!(error, ReadError::NoAnswer), "{error}");
    }
    assert!(start.elapsed() >= 2 * LIMIT);
    assert_eq!(disk.looks("hangs"), 1, "one thread");
    disk.release();
    files.search("".into(), &["hangs"]).await.unwrap();
    assert_eq!(disk.looks("hangs"), 2);
}
