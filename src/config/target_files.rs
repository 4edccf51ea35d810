//! The key `target_files`: which files have further targets, what they say, and what remains of it where names are taken.
//!
//! What one file says is read in `target_file.rs`. A broken file does not affect the others.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Config;
use super::document::Value;
use super::field::{Field, Fields, Invalid};
use super::keys::agent::DEFAULTS;
use super::keys::fleet::{AUTHORITIES, AUTHORITY, IDENTITIES, TARGET_FILE, TARGET_FILES};
use super::named_identities::NamedIdentities;
use super::sources::{Read, Sources};
use super::target_file::Definitions;
use super::tls;
use super::watch::{Load, Watch};
use crate::files::{Content, Files, ReadError};
use crate::os::files::name_of;
use crate::partition::Partition;
use crate::target::{Target, TargetName};

/// The largest number of files.
const MOST_FILES: usize = 1000;

/// The largest number of targets that an agent probes.
const MOST_PROBED: usize = 10_000;

/// The largest number of targets that an agent knows, in all partitions.
const MOST_KNOWN: usize = 100_000;

/// The files with further targets.
#[derive(Clone, Debug)]
pub struct TargetFiles {
    patterns: Arc<[Pattern]>,
    definitions: Arc<Definitions>,
    /// What they said when the configuration was loaded.
    found: Found,
    read: Read,
}

/// What the files say changes at run time, which their patterns do not.
impl PartialEq for TargetFiles {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

/// A path whose last part may have `*` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    whole: PathBuf,
    folder: PathBuf,
    name: Box<OsStr>,
}

/// What each file says, by its path. A pattern whose folder cannot be read is in the place of its files.
#[derive(Clone, Debug, Default)]
pub struct Found {
    files: Arc<BTreeMap<PathBuf, FileTargets>>,
    /// The patterns whose folder cannot be read.
    unreadable: Arc<[Pattern]>,
}

/// The targets of a file, or why it is invalid.
type FileTargets = Result<Arc<[Arc<Target>]>, Box<str>>;

/// The targets that each file had when it was valid.
pub type Good = BTreeMap<PathBuf, Arc<[Arc<Target>]>>;

/// All targets.
#[derive(Debug)]
pub struct Merged {
    /// Those that the agent probes.
    pub own: Vec<Arc<Target>>,
    /// How many there are in all partitions.
    pub known: usize,
    /// Each file, and why it is invalid if it is.
    pub files: BTreeMap<PathBuf, Result<(), Box<str>>>,
    /// What is kept of each file for the time when it is invalid.
    pub good: Good,
}

impl Pattern {
    fn parse(field: &Field<'_>) -> Result<Self, Invalid> {
        let path = Path::new(field.text(&TARGET_FILE)?);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(field.expected("the path of a file"));
        };
        if folder.as_os_str().as_encoded_bytes().contains(&b'*') {
            return Err(field.problem("* is allowed in the name of a file, not in that of a folder"));
        }
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        Ok(Self { whole: path.to_owned(), folder: folder.to_owned(), name: name.into() })
    }

    /// Whether it names one file, which must be there.
    fn is_literal(&self) -> bool {
        !self.name.as_encoded_bytes().contains(&b'*')
    }

    /// Whether it selects the file called `name` in its folder. `*` selects no hidden file.
    fn selects(&self, name: &[u8]) -> bool {
        let pattern = self.name.as_encoded_bytes();
        (pattern.first() != Some(&b'*') || name.first() != Some(&b'.')) && is_match(pattern, name)
    }

    fn selects_path(&self, path: &Path) -> bool {
        path.parent() == Some(&self.folder)
            && path.file_name().is_some_and(|name| self.selects(name.as_encoded_bytes()))
    }
}

/// Whether `name` matches `pattern`, in which `*` matches any characters.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    let mut parts = pattern.split(|byte| *byte == b'*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&[u8]> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle.iter().filter(|part| !part.is_empty()) {
        let Some(at) = rest.windows(part.len()).position(|window| window == *part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

impl Config {
    /// Returns what its files with targets said when it was loaded.
    #[must_use]
    pub fn found(&self) -> Found {
        self.target_files.as_ref().map(|files| files.found.clone()).unwrap_or_default()
    }
}

impl TargetFiles {
    /// Whether `other` grants the files the same identities and certificates, and has the same defaults. If not, what a file
    /// had when it was valid may be what the configuration has withdrawn.
    #[must_use]
    pub fn grants_as(&self, other: &Self) -> bool {
        self.definitions == other.definitions
    }

    /// Watches the files since the configuration was loaded.
    #[must_use]
    pub fn watch(&self, files: &Files) -> Watch<Found> {
        let (patterns, definitions) = (Arc::clone(&self.patterns), Arc::clone(&self.definitions));
        let load: Load<Found> = Arc::new(move |sources| Ok(find(&patterns, &definitions, sources)));
        Watch::since(None, load, files, &self.read)
    }
}

/// Reads the key of a configuration with these top-level `fields` and `identities`, and the files.
pub(super) fn read_of(
    fields: &Fields<'_>,
    identities: Result<NamedIdentities, Invalid>,
) -> Result<Option<TargetFiles>, Invalid> {
    let authorities = fields.get(&AUTHORITIES);
    let named = authorities.as_ref().map_or(Ok(()), read_authorities);
    let Some(field) = fields.get(&TARGET_FILES) else { return named.and(identities.map(|_| None)) };
    let patterns = match field.value() {
        Value::List(_) => {
            let items = field.items_of(&TARGET_FILES, "a list of paths", "paths")?;
            let patterns: Vec<_> = items.iter().map(Pattern::parse).collect();
            patterns.into_iter().collect::<Result<Vec<_>, _>>()?
        }
        _ => vec![Pattern::parse(&field)?],
    };
    named?;
    let definitions = Definitions::of(
        fields.get(&DEFAULTS).as_ref(),
        fields.get(&IDENTITIES).as_ref(),
        authorities.as_ref(),
        identities?,
    );
    let sources = Sources::new(field.sources().files());
    let found = find(&patterns, &definitions, &sources);
    Ok(Some(TargetFiles {
        patterns: patterns.into(),
        definitions: Arc::new(definitions),
        found,
        read: sources.summary(),
    }))
}

fn read_authorities(field: &Field<'_>) -> Result<(), Invalid> {
    let files = field.any_fields(&format!("a mapping such as {}", AUTHORITIES.about.example))?;
    let read: Vec<_> = files.each().map(|(_, field)| tls::read_ca_file(&field, &AUTHORITY)).collect();
    read.into_iter().try_for_each(|read| read.map(drop))
}

/// Finds the files of `patterns`, and reads them from `sources`.
fn find(patterns: &[Pattern], definitions: &Definitions, sources: &Sources) -> Found {
    let mut files = BTreeMap::new();
    let mut unreadable = Vec::new();
    let mut paths = BTreeSet::new();
    for pattern in patterns {
        if pattern.is_literal() {
            paths.insert(pattern.folder.join(&*pattern.name));
            continue;
        }
        match sources.list(&pattern.folder) {
            Ok(names) => {
                let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
                let selected = names.filter(|name| pattern.selects(name));
                paths.extend(selected.map(|name| pattern.folder.join(name_of(name))));
            }
            Err(error) => {
                let problem = format!("{} cannot be read: {error}", pattern.folder.display());
                files.insert(pattern.whole.clone(), Err(problem.into()));
                unreadable.push(pattern.clone());
            }
        }
    }
    let paths: Vec<PathBuf> = paths.into_iter().collect();
    files.extend(read_files(&paths, MOST_KNOWN, definitions, sources));
    Found { files: Arc::new(files), unreadable: unreadable.into() }
}

/// Reads the files at `paths` until they have more than `most` targets.
fn read_files(
    paths: &[PathBuf],
    most: usize,
    definitions: &Definitions,
    sources: &Sources,
) -> BTreeMap<PathBuf, FileTargets> {
    let mut files = BTreeMap::new();
    let mut known = 0;
    let first = &paths[..paths.len().min(MOST_FILES)];
    for (path, content) in first.iter().zip(sources.read_in_order(first)) {
        let read = read_file(path, content, definitions, sources);
        known += read.as_ref().map_or(0, |targets| targets.len());
        files.insert(path.clone(), read);
        if known > most {
            break;
        }
    }
    for (index, path) in paths.iter().enumerate() {
        files.entry(path.clone()).or_insert_with(|| {
            let name = path.display();
            Err(if index < MOST_FILES {
                format!("{name} is not read: the files before it have more than {most} targets")
            } else {
                format!("{name}: more than {MOST_FILES} files with targets")
            }
            .into())
        });
    }
    files
}

fn read_file(
    path: &Path,
    content: Result<Content, ReadError>,
    definitions: &Definitions,
    sources: &Sources,
) -> FileTargets {
    let name = path.display().to_string();
    let content = content.map_err(|error| format!("{name} cannot be read: {error}"))?;
    let text = str::from_utf8(&content).map_err(|_| format!("{name} is not UTF-8 text"))?;
    let targets = definitions.read(&name, text, sources).map_err(|problems| problems.to_string())?;
    Ok(targets.into())
}

/// A name in lower case, and who has it.
type Taken = HashMap<String, Option<Arc<str>>>;

impl Found {
    /// Adds what the files say to the targets of the configuration. A file that is invalid, or has a name that is taken, keeps
    /// those that it had when it was `good`. Of all, `partition` probes its own.
    #[must_use]
    pub fn merge(&self, configured: &[Arc<Target>], good: &Good, partition: Option<Partition>) -> Merged {
        let is_own = |target: &Arc<Target>| partition.is_none_or(|partition| partition.has(&target.name));
        let mut taken: Taken = configured.iter().map(|target| (folded(&target.name), None)).collect();
        let mut own: Vec<Arc<Target>> = configured.iter().filter(|target| is_own(target)).cloned().collect();
        let mut files = BTreeMap::new();
        let mut kept = Good::new();
        for (path, read) in self.all(good) {
            let valid = read.and_then(|targets| {
                let more = targets.iter().filter(|target| is_own(target)).count();
                if own.len() + more > MOST_PROBED {
                    return Err(format!(
                        "{}: the agent would probe more than {MOST_PROBED} targets; share them among more agents",
                        path.display()
                    )
                    .into());
                } else if taken.len() + targets.len() > MOST_KNOWN {
                    return Err(
                        format!("{}: there would be more than {MOST_KNOWN} targets", path.display()).into()
                    );
                }
                free(&path, &targets, &taken).map(|()| targets)
            });
            let (targets, validity) = match valid {
                Ok(targets) => (Some(targets), Ok(())),
                Err(problem) => (good.get(&path).cloned(), Err(problem)),
            };
            if let Some(targets) = targets {
                let owner: Arc<str> = path.display().to_string().into();
                for target in targets.iter() {
                    let name = folded(&target.name);
                    if taken.len() < MOST_KNOWN && !taken.contains_key(&name) {
                        taken.insert(name, Some(Arc::clone(&owner)));
                        if is_own(target) && own.len() < MOST_PROBED {
                            own.push(Arc::clone(target));
                        }
                    }
                }
                kept.insert(path.clone(), targets);
            }
            files.insert(path, validity);
        }
        Merged { own, known: taken.len(), files, good: kept }
    }

    /// Returns every file with what it says, also those that cannot be found because their folder cannot be read.
    fn all(&self, good: &Good) -> BTreeMap<PathBuf, FileTargets> {
        let mut all = (*self.files).clone();
        let is_hidden = |path: &Path| self.unreadable.iter().any(|pattern| pattern.selects_path(path));
        for path in good.keys().filter(|path| is_hidden(path)) {
            let problem = format!("{}: its folder cannot be read", path.display());
            all.entry(path.clone()).or_insert_with(|| Err(problem.into()));
        }
        all
    }
}

/// Whether no target of the file at `path` has a name that is taken.
fn free(path: &Path, targets: &[Arc<Target>], taken: &Taken) -> Result<(), Box<str>> {
    let conflict = targets.iter().find_map(|target| Some((target, taken.get(&folded(&target.name))?)));
    let Some((target, owner)) = conflict else { return Ok(()) };
    let (name, owner) = (&target.name, owner.as_deref().unwrap_or("the configuration"));
    Err(format!("{}: duplicate name \"{name}\"; {owner} has it, too", path.display()).into())
}

fn folded(name: &TargetName) -> String {
    name.as_str().to_lowercase()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn targets(names: &[&str]) -> Arc<[Arc<Target>]> {
        names.iter().map(|name| Target::plain(name).into()).collect()
    }

    fn found(files: &[(&str, Result<&[&str], &str>)]) -> Found {
        let file = |(path, read): &(&str, Result<&[&str], &str>)| {
            (PathBuf::from(path), read.map(targets).map_err(Into::into))
        };
        Found { files: Arc::new(files.iter().map(file).collect()), unreadable: [].into() }
    }

    fn names(merged: &Merged) -> Vec<&str> {
        merged.own.iter().map(|target| target.name.as_str()).collect()
    }

    fn problem<'m>(merged: &'m Merged, path: &str) -> &'m str {
        merged.files[Path::new(path)].as_ref().unwrap_err()
    }

    #[test]
    fn a_pattern_selects_names_with_any_characters_in_place_of_each_star() {
        for (pattern, name) in [
            ("a.yaml", "a.yaml"),
            ("*.yaml", "a.yaml"),
            ("*", "a"),
            ("a*", "a"),
            ("a*b*c", "axbxbc"),
            ("a**c", "abc"),
            ("*a", "aa"),
        ] {
            assert!(is_match(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a.yaml", "a.yamlx"),
            ("*.yaml", "a.yml"),
            ("a*a", "a"),
            ("a*b*c", "acb"),
            ("", "a"),
            ("a*", "ba"),
        ] {
            assert!(!is_match(pattern.as_bytes(), name.as_bytes()), "{pattern} {name}");
        }
        let pattern =
            |name: &str| Pattern { whole: name.into(), folder: ".".into(), name: OsStr::new(name).into() };
        assert!(!pattern("*.yaml").selects(b".a.yaml") && pattern(".*.yaml").selects(b".a.yaml"));
    }

    #[test]
    fn a_path_without_a_star_is_an_invalid_file_while_there_is_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.yaml");
        let pattern = |name: &str| Pattern {
            whole: folder.path().join(name),
            folder: folder.path().into(),
            name: OsStr::new(name).into(),
        };
        let merged = |name| {
            let sources = Sources::new(&Files::system());
            find(&[pattern(name)], &Definitions::default(), &sources).merge(&[], &Good::new(), None)
        };
        let missing = merged("t.yaml");
        assert!(
            problem(&missing, path.to_str().unwrap()).contains("cannot be read: No such file"),
            "{missing:?}"
        );
        assert!(merged("*.yaml").files.is_empty(), "a pattern may select nothing");
        std::fs::write(&path, "[{name: a, host: a, identity: none}]").unwrap();
        assert_eq!(names(&merged("t.yaml")), ["a"]);
    }

    #[test]
    fn files_after_too_many_targets_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = ["1", "2", "3", "4"].map(|name| folder.path().join(name)).into();
        for path in &paths {
            std::fs::write(path, "[{name: a, host: a, identity: none}, {name: b, host: b, identity: none}]")
                .unwrap();
        }
        let read = |most| {
            let sources = Sources::new(&Files::system());
            let files = read_files(&paths, most, &Definitions::default(), &sources);
            let problems: Vec<_> = files.into_values().filter_map(Result::err).collect();
            (problems, sources.summary().files.len())
        };
        // Files are read ahead, but no others.
        let (problems, _) = read(3);
        assert_eq!(problems.len(), 2);
        assert!(
            problems[0].ends_with("3 is not read: the files before it have more than 3 targets"),
            "{problems:?}"
        );
        assert_eq!(read(8), (Vec::new(), 4));
    }

    #[test]
    fn of_a_name_used_twice_the_configurations_wins_then_the_first_files() {
        let configured = targets(&["a"]);
        let found = found(&[
            ("2", Ok(&["B", "d"])),
            ("1", Ok(&["b", "c"])),
            ("3", Ok(&["A", "e"])),
            ("4", Ok(&["f"])),
        ]);
        let merged = found.merge(&configured, &Good::new(), None);
        assert_eq!(names(&merged), ["a", "b", "c", "f"]);
        assert_eq!(merged.known, 4);
        assert_eq!(problem(&merged, "2"), "2: duplicate name \"B\"; 1 has it, too");
        assert_eq!(problem(&merged, "3"), "3: duplicate name \"A\"; the configuration has it, too");
        assert!(merged.files[Path::new("4")].is_ok());
    }

    #[test]
    fn an_invalid_file_keeps_its_last_targets_but_for_names_that_others_have_now() {
        let first = found(&[("1", Ok(&["a", "b"])), ("2", Ok(&["c"]))]).merge(&[], &Good::new(), None);
        let broken =
            found(&[("1", Err("broken")), ("2", Ok(&["c"]))]).merge(&targets(&["A"]), &first.good, None);
        assert_eq!(names(&broken), ["A", "b", "c"]);
        assert_eq!(problem(&broken, "1"), "broken");
        // A copy of a file that is still there is invalid, and has no targets of its own.
        let copied = found(&[("1", Ok(&["a"])), ("2", Ok(&["a"]))]).merge(&[], &Good::new(), None);
        assert_eq!(names(&copied), ["a"]);
        assert!(!copied.good.contains_key(Path::new("2")));
        let removed = found(&[("2", Ok(&["c"]))]).merge(&[], &broken.good, None);
        assert_eq!(names(&removed), ["c"]);
    }

    #[test]
    fn files_in_a_folder_that_cannot_be_read_keep_their_targets() {
        let good =
            found(&[("t/a.yaml", Ok(&["a"])), ("t/b.json", Ok(&["b"]))]).merge(&[], &Good::new(), None).good;
        let pattern =
            Pattern { whole: "t/*.yaml".into(), folder: "t".into(), name: OsStr::new("*.yaml").into() };
        let hidden =
            Found { unreadable: [pattern].into(), ..found(&[("t/*.yaml", Err("t cannot be read"))]) };
        let merged = hidden.merge(&[], &good, None);
        assert_eq!(names(&merged), ["a"]);
        assert_eq!(problem(&merged, "t/a.yaml"), "t/a.yaml: its folder cannot be read");
        assert_eq!(problem(&merged, "t/*.yaml"), "t cannot be read");
    }

    #[test]
    fn a_partition_has_its_own_and_knows_all() {
        let all: Vec<String> = (0..40).map(|number| format!("t-{number}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let found = found(&[("1", Ok(&all[20..]))]);
        let configured = targets(&all[..20]);
        let three = NonZeroU32::new(3).unwrap();
        let own = |index| {
            let partition = Partition::new(index, three, NonZeroU32::MIN).unwrap();
            let merged = found.merge(&configured, &Good::new(), Some(partition));
            assert_eq!(merged.known, 40);
            merged.own.len()
        };
        assert_eq!((0..3).map(own).sum::<usize>(), 40);
    }

    #[test]
    fn the_file_with_too_many_targets_is_invalid_and_a_partition_may_know_more_than_it_probes() {
        let all: Vec<String> = (0..=MOST_KNOWN).map(|number| format!("t-{number}")).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let files =
            found(&[("1", Ok(&all[..6000])), ("2", Ok(&all[6000..10_001])), ("3", Ok(&all[20_000..20_001]))]);
        let merged = files.merge(&[], &Good::new(), None);
        assert_eq!((merged.own.len(), merged.known), (6001, 6001));
        assert_eq!(
            problem(&merged, "2"),
            "2: the agent would probe more than 10000 targets; share them among more agents"
        );
        let twenty = NonZeroU32::new(20).unwrap();
        let partition = Some(Partition::new(0, twenty, NonZeroU32::MIN).unwrap());
        let merged = files.merge(&[], &Good::new(), partition);
        assert!(merged.files.values().all(Result::is_ok) && merged.own.len() < 1000);
        assert_eq!(merged.known, 10_002);

        // What a broken file keeps does not exceed the numbers either.
        let good = found(&[("2", Ok(&all[..6000]))]).merge(&[], &Good::new(), None).good;
        let broken = found(&[("1", Ok(&all[6000..14_000])), ("2", Err("broken"))]);
        let merged = broken.merge(&[], &good, None);
        assert_eq!((merged.own.len(), merged.known), (MOST_PROBED, 14_000));
        let good = found(&[("2", Ok(&all[..60_000]))]).merge(&[], &Good::new(), partition).good;
        let broken = found(&[("1", Ok(&all[60_000..])), ("2", Err("broken")), ("3", Ok(&all[..1]))]);
        let merged = broken.merge(&[], &good, partition);
        assert_eq!(merged.known, MOST_KNOWN);
        assert_eq!(problem(&merged, "3"), "3: there would be more than 100000 targets");

        let files = found(&[("1", Ok(&all[..MOST_KNOWN])), ("2", Ok(&all[MOST_KNOWN..]))]);
        let merged = files.merge(&[], &Good::new(), partition);
        assert_eq!(merged.known, MOST_KNOWN);
        assert_eq!(problem(&merged, "2"), "2: there would be more than 100000 targets");
    }
}
