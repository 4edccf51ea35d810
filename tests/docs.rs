//! The documentation against the code: whatever can be named in both is named in both, and means the same.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cachepulse::clock::Clock;
use cachepulse::config::Config;
use cachepulse::http::{self, Liveness, Pages};
use cachepulse::metrics::{DEFINITIONS, Kind, Metrics};
use cachepulse::status::Status;
use serde_yaml::{Mapping, Value};

/// Every page: those at the top, and those below `docs`.
fn pages() -> Vec<Page> {
    let mut folders = vec![PathBuf::from("docs")];
    let mut paths = markdown_in(Path::new("."));
    while let Some(folder) = folders.pop() {
        paths.extend(markdown_in(&folder));
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        folders.extend(entries.filter(|path| path.is_dir()));
    }
    assert!(paths.len() >= 4, "{paths:?}");
    paths.into_iter().map(Page::read).collect()
}

fn markdown_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

fn readme() -> Page {
    Page::read("README.md".into())
}

/// A page of Markdown, in the simple style in which ours are written.
struct Page {
    path: PathBuf,
    text: String,
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        Self { path, text }
    }

    /// The fenced blocks of code: language and content.
    fn blocks(&self) -> Vec<(&str, String)> {
        let mut blocks: Vec<(&str, String)> = Vec::new();
        let mut inside = false;
        for line in self.text.lines() {
            match (line.strip_prefix("```"), inside) {
                (Some(language), false) => blocks.push((language, String::new())),
                (None, true) => blocks.last_mut().unwrap().1.extend([line, "\n"]),
                _ => {}
            }
            inside ^= line.starts_with("```");
        }
        assert!(!inside, "{}: a block of code has no end", self.path.display());
        blocks
    }

    /// What stands in backquotes within the prose.
    fn code_spans(&self) -> Vec<&str> {
        let prose = self.text.split("\n```").step_by(2);
        prose.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
    }

    /// The targets of links within this project.
    fn links(&self) -> Vec<&str> {
        let targets = self.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        targets.filter(|target| !target.starts_with("http")).collect()
    }

    /// The rows of the tables under these column titles, each as its cells.
    fn rows(&self, titles: &[&str]) -> Vec<Vec<String>> {
        let mut rows = Vec::new();
        let mut inside = false;
        for line in self.text.lines() {
            let cells = cells(line);
            inside = if inside { !cells.is_empty() } else { cells == titles };
            if inside && cells != titles && !line.starts_with("|--") {
                assert_eq!(cells.len(), titles.len(), "{line}");
                rows.push(cells);
            }
        }
        assert!(!rows.is_empty(), "{}: no table {titles:?}", self.path.display());
        rows
    }

    /// The anchors of the headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.text.lines().filter(|line| line.starts_with('#'));
        headings
            .map(|heading| {
                let title = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                title.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
            })
            .collect()
    }
}

/// The cells of a table's row; none if `line` is not one.
fn cells(line: &str) -> Vec<String> {
    const ESCAPED: &str = "\u{0}";
    let Some(inner) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
        return Vec::new();
    };
    let inner = inner.replace("\\|", ESCAPED);
    inner.split('|').map(|cell| cell.trim().replace(ESCAPED, "|")).collect()
}

/// The one code span of a cell that is nothing else.
fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`').filter(|inner| !inner.contains('`'))
}

fn in_code(text: &str) -> String {
    format!("`{text}`")
}

#[test]
fn no_page_names_a_metric_that_does_not_exist() {
    let mut known: BTreeSet<String> = DEFINITIONS.iter().map(|it| it.name.to_owned()).collect();
    for histogram in DEFINITIONS.iter().filter(|it| it.kind == Kind::Histogram) {
        known.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{}{suffix}", histogram.name)));
    }
    for page in pages() {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for (at, _) in page.text.match_indices("cachepulse_") {
            let name = page.text[at..].split(|c| !is_part(c)).next().unwrap();
            assert!(known.contains(name), "{}: {name}", page.path.display());
        }
    }
}

const KEY_TITLES: [&str; 4] = ["Key", "Flag, variable", "Default", "Meaning"];

/// The documented keys: path, default, meaning. Paths within a target start with `targets[].`.
fn documented_keys() -> Vec<(String, String, String)> {
    const OF_AGENT: [&str; 4] = ["http", "log", "shutdown_grace_period", "targets"];
    let rows = readme().rows(&KEY_TITLES);
    let rows = rows.into_iter().filter(|row| row[0] != "`defaults`");
    rows.map(|row| {
        let key = code(&row[0]).unwrap_or_else(|| panic!("{}", row[0]));
        let is_agents = OF_AGENT.contains(&key.split('.').next().unwrap());
        let path = if is_agents { key.to_owned() } else { format!("targets[].{key}") };
        (path, row[2].clone(), row[3].clone())
    })
    .collect()
}

/// The paths of everything that `value` says, without what is inside a secret's place or stands in `defaults`.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Mapping(mapping) if !mapping.contains_key("file") && !mapping.contains_key("env") => {
            for (key, value) in mapping {
                let key = key.as_str().unwrap();
                if key != "defaults" {
                    let dot = if path.is_empty() { "" } else { "." };
                    paths(value, &format!("{path}{dot}{key}"), found);
                }
            }
        }
        Value::Sequence(items) => items.iter().for_each(|item| paths(item, &format!("{path}[]"), found)),
        _ => _ = found.insert(path.to_owned()),
    }
}

#[test]
fn every_configuration_key_is_told_and_no_other() {
    let example: Value = serde_yaml::from_str(&fs::read_to_string("examples/fullest.yaml").unwrap()).unwrap();
    let mut known = BTreeSet::new();
    paths(&example, "", &mut known);
    // Said of the targets of that file by way of its defaults.
    let mut defaults = BTreeSet::new();
    paths(&example["defaults"], "targets[]", &mut defaults);
    known.extend(defaults);
    // `identity: none` is short for `identity: {type: none}`; `targets` is told as a key of its own.
    known.remove("targets[].identity");
    known.insert("targets".to_owned());
    let told: BTreeSet<String> = documented_keys().into_iter().map(|(path, _, _)| path).collect();
    assert_eq!(told, known);
}

/// A configuration with one target on `host` that says `value` at each path.
fn configuration(values: &[(&str, &str)]) -> Value {
    let mut target = Value::Mapping(Mapping::new());
    let mut agent = Value::Mapping(Mapping::new());
    let mut put = |path: &str, value: &str| {
        let (mut place, path) = match path.strip_prefix("targets[].") {
            Some(path) => (&mut target, path),
            None => (&mut agent, path),
        };
        for key in path.split('.') {
            if !place.is_mapping() {
                *place = Value::Mapping(Mapping::new());
            }
            place = place.as_mapping_mut().unwrap().entry(key.into()).or_insert(Value::Null);
        }
        *place = value.into();
    };
    put("targets[].name", "orders");
    put("targets[].host", "orders.redis.cache.windows.net");
    for (path, value) in values {
        put(path, value);
    }
    if agent.get("targets").is_none() {
        agent.as_mapping_mut().unwrap().insert("targets".into(), vec![target].into());
    }
    agent
}

fn read(document: &Value) -> Result<Config, String> {
    Config::from_yaml(&serde_yaml::to_string(document).unwrap()).map_err(|problems| problems.to_string())
}

#[test]
fn the_documented_defaults_written_out_change_nothing() {
    let keys = documented_keys();
    let defaults: Vec<(&str, &str)> =
        keys.iter().filter_map(|(path, default, _)| Some((path.as_str(), code(default)?))).collect();
    assert!(defaults.len() >= 14, "{defaults:?}");
    assert_eq!(read(&configuration(&defaults)), read(&configuration(&[])));
}

/// What the configuration says that it expects at `path`, if it says so of nonsense.
fn expected_at(path: &str) -> Option<String> {
    // Too long, too large, too many, or no choice at all. Where it is none of that, it is a good value.
    let told = match path {
        "targets" => Config::from_yaml("targets: []").unwrap_err().to_string(),
        path => read(&configuration(&[(path, "99999999h")])).err()?,
    };
    let expected = told.split_once("expected ")?.1;
    Some(expected.split(", found").next().unwrap().to_owned())
}

#[test]
fn every_range_and_choice_is_told_as_the_configuration_tells_it() {
    let (mut ranges, mut choices) = (0, 0);
    for (path, _, meaning) in documented_keys() {
        let Some(expected) = expected_at(&path) else { continue };
        let words: Vec<&str> = expected.split([' ', ',']).collect();
        let names: Vec<&str> = expected.split(", ").flat_map(|part| part.split(" or ")).collect();
        let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if let Some(to) = words.iter().position(|word| *word == "to") {
            let range = format!("`{}` to `{}`", words[to - 1], words[to + 1]);
            assert!(meaning.contains(&range), "{path}: {range} in {meaning}");
            ranges += 1;
        } else if names.iter().all(is_name) {
            for name in names {
                assert!(meaning.contains(&in_code(name)), "{path}: {name} in {meaning}");
            }
            choices += 1;
        }
    }
    assert_eq!((ranges, choices), (9, 5), "keys with a range, keys with choices");
}

#[test]
fn every_flag_is_told_beside_its_variable() {
    let told: Vec<String> = readme().rows(&KEY_TITLES).into_iter().map(|row| row[1].clone()).collect();
    let command = cachepulse::cli::command();
    let run = command.find_subcommand("run").unwrap();
    let mut expected = 0;
    for flag in run.get_arguments().filter(|flag| flag.get_id() != "config") {
        let variable = flag.get_env().unwrap().to_str().unwrap();
        let pair = format!("`--{}` `{variable}`", flag.get_long().unwrap());
        assert!(told.iter().any(|cell| cell.split(", ").any(|it| it == pair)), "{pair}");
        expected += 1;
    }
    let pairs: usize = told.iter().filter(|cell| !cell.is_empty()).map(|cell| cell.split(", ").count()).sum();
    assert_eq!(pairs, expected, "pairs told, and flags");
}

#[test]
fn every_command_is_told_with_its_own_flags_and_no_other() {
    let command = cachepulse::cli::command();
    let rows = readme().rows(&["Command", "What it does", "Exit code"]);
    let told: Vec<&str> = rows.iter().map(|row| code(&row[0]).unwrap().split(' ').nth(1).unwrap()).collect();
    let known: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    assert_eq!(told, known);
    let run = command.find_subcommand("run").unwrap();
    let shared: BTreeSet<_> = run.get_arguments().filter_map(clap::Arg::get_long).collect();
    for (row, subcommand) in rows.iter().zip(command.get_subcommands()) {
        let own = subcommand.get_arguments().filter_map(clap::Arg::get_long);
        for flag in own.filter(|flag| *flag == "config" || !shared.contains(flag)) {
            assert!(row[1].contains(&format!("--{flag}")), "{}: --{flag}", row[0]);
        }
    }
}

#[test]
fn every_command_line_in_a_block_of_code_is_one_that_the_binary_takes() {
    let mut lines = 0;
    for page in pages() {
        for (_, block) in page.blocks().into_iter().filter(|(language, _)| *language == "sh") {
            for line in block.replace("\\\n", " ").lines() {
                let words: Vec<&str> = line
                    .split_whitespace()
                    .skip_while(|word| word.contains('='))
                    .take_while(|word| *word != "#")
                    .collect();
                if words.first() == Some(&"cachepulse") {
                    let parsed = cachepulse::cli::command().try_get_matches_from(&words);
                    assert!(parsed.is_ok(), "{}: {line}: {parsed:?}", page.path.display());
                    lines += 1;
                }
            }
        }
    }
    assert!(lines >= 8, "only {lines}");
}

#[test]
fn every_flag_variable_and_make_target_that_a_page_names_exists() {
    let command = cachepulse::cli::command();
    let arguments: Vec<_> = command.get_subcommands().flat_map(clap::Command::get_arguments).collect();
    let mut flags: BTreeSet<String> =
        arguments.iter().filter_map(|it| Some(format!("--{}", it.get_long()?))).collect();
    // clap's own, and cargo's.
    flags.extend(
        ["--help", "--version", "--locked", "--path", "--lib", "--test", "--root"].map(str::to_owned),
    );
    let variables: BTreeSet<&str> = arguments.iter().filter_map(|it| it.get_env()?.to_str()).collect();
    let targets = make_targets();
    for page in pages() {
        let blocks = page.blocks().into_iter().filter(|(language, _)| *language == "sh");
        let shell: Vec<String> = blocks.map(|(_, block)| block.replace("\\\n", " ")).collect();
        // Lines of other programs, such as helm, have flags of their own.
        let ours = |line: &&str| {
            let mut words = line.split_whitespace().skip_while(|word| word.contains('='));
            words.next().is_some_and(|word| ["cachepulse", "make", "cargo"].contains(&word))
        };
        let shell = shell.iter().flat_map(|block| block.lines()).filter(ours);
        let place = page.path.display();
        for text in page.code_spans().into_iter().chain(shell) {
            let words: Vec<&str> = text.split([' ', '=', '`']).collect();
            for word in &words {
                assert!(!word.starts_with("--") || flags.contains(*word), "{place}: {word}");
                let known = !word.starts_with("CACHEPULSE_") || variables.contains(word);
                assert!(known, "{place}: {word}");
            }
            if words.first() == Some(&"make") {
                assert!(words.get(1).is_none_or(|target| targets.contains(*target)), "{place}: {text}");
            }
        }
    }
}

fn make_targets() -> BTreeSet<String> {
    let mut files = vec![PathBuf::from("Makefile")];
    files.extend(fs::read_dir("make").into_iter().flatten().map(|entry| entry.unwrap().path()));
    let rules = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect::<String>();
    rules.lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
}

#[test]
fn every_endpoint_is_told_and_no_other() {
    let told: BTreeSet<String> =
        readme().rows(&["Path", "Answer"]).iter().map(|row| code(&row[0]).unwrap().to_owned()).collect();
    let (liveness, _) = Liveness::new();
    let pages = Pages { metrics: Metrics::new(), status: Status::new(Clock::system()), liveness };
    let listener = http::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let server = http::spawn(listener, pages).unwrap();
    let not_found = ask(server.local_addr(), "/nowhere");
    let (_, listed) = not_found.split_once("try ").unwrap();
    assert_eq!(told, listed.split_whitespace().map(str::to_owned).collect());
    for path in told {
        let answer = ask(server.local_addr(), &path);
        assert!(!answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}

fn ask(server: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(server).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_readme_quotes_what_was_measured_last() {
    let measured = Page::read("docs/performance.md".into()).text;
    let fact = |name: &str| {
        let line = measured.lines().find_map(|line| line.strip_prefix(&format!("| {name} | ")));
        line.and_then(|line| line.strip_suffix(" |")).unwrap_or_else(|| panic!("no {name} in:\n{measured}"))
    };
    let readme = readme().text;
    let (_, section) = readme.split_once("\n## What it costs\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let words = section.split_whitespace().collect::<Vec<_>>().join(" ");
    for fact in [fact("Date"), fact("Machine"), fact("To repeat")] {
        assert!(words.contains(fact), "{fact} is not in:\n{section}");
    }
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 12, "{rows:?}");
    for row in rows {
        assert!(measured.lines().any(|line| line == row), "not in docs/performance.md: {row}");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    for page in pages() {
        for link in page.links() {
            let (path, anchor) =
                link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
            let target = match path {
                "" => page.path.clone(),
                path => page.path.parent().unwrap().join(path),
            };
            assert!(target.exists(), "{}: {link}", page.path.display());
            if let Some(anchor) = anchor {
                assert!(Page::read(target).anchors().contains(anchor), "{}: {link}", page.path.display());
            }
            links += 1;
        }
    }
    assert!(links >= 10, "only {links}");
}

#[test]
fn every_file_that_a_page_names_exists() {
    let folders = ["src/", "tests/", "examples/", "docs/", "charts/", "deploy/", ".ci/"];
    for page in pages() {
        for name in page.code_spans() {
            let is_path = folders.iter().any(|folder| name.starts_with(folder)) && !name.contains(' ');
            assert!(!is_path || Path::new(name).exists(), "{}: {name}", page.path.display());
        }
    }
}

#[test]
fn every_block_of_yaml_is_valid_and_every_whole_configuration_is_one() {
    let mut configurations = BTreeMap::new();
    for page in pages() {
        for (_, block) in page.blocks().into_iter().filter(|(language, _)| *language == "yaml") {
            let document: Result<Value, _> = serde_yaml::from_str(&block);
            let document = document.unwrap_or_else(|error| panic!("{error}\n{block}"));
            if document.get("targets").is_some() {
                let here = block.replace("/run/secrets/", "examples/secrets/");
                Config::from_yaml(&here).unwrap_or_else(|problems| panic!("{problems}\n{block}"));
                *configurations.entry(page.path.clone()).or_insert(0) += 1;
            }
        }
    }
    assert!(configurations.len() >= 2, "{configurations:?}");
}
