//! The documentation: links lead somewhere, examples are valid, commands parse, and what a page names exists.
//!
//! The reference pages are generated and compared by `crates/reference`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cachepulse::config::Config;
use cachepulse::metrics::{DEFINITIONS, MetricType};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use serde_yaml::Value;

/// A page of Markdown.
#[derive(Default)]
struct Page {
    path: PathBuf,
    text: String,
    /// The fenced blocks of code: language and content.
    blocks: Vec<(String, String)>,
    /// The code spans.
    spans: Vec<String>,
    /// The destinations of links and images within this project.
    links: Vec<String>,
    headings: Vec<String>,
}

impl Page {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).unwrap();
        let mut page = Self { path, ..Self::default() };
        let (mut in_block, mut in_heading) = (false, false);
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    page.blocks.push((language.into_string(), String::new()));
                    in_block = true;
                }
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Start(Tag::Heading { .. }) => {
                    page.headings.push(String::new());
                    in_heading = true;
                }
                Event::End(TagEnd::Heading(_)) => in_heading = false,
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. })
                    if !dest_url.starts_with("http") =>
                {
                    page.links.push(dest_url.into_string());
                }
                Event::Code(code) => {
                    if in_heading {
                        page.headings.last_mut().unwrap().push_str(&code);
                    }
                    page.spans.push(code.into_string());
                }
                Event::Text(text) if in_block => page.blocks.last_mut().unwrap().1.push_str(&text),
                Event::Text(text) if in_heading => page.headings.last_mut().unwrap().push_str(&text),
                _ => {}
            }
        }
        page.text = text;
        page
    }

    /// The content of the blocks in `language`.
    fn blocks_in(&self, language: &str) -> impl Iterator<Item = &str> {
        self.blocks.iter().filter(move |block| block.0 == language).map(|block| block.1.as_str())
    }

    /// The lines of the blocks of shell commands, continued lines joined.
    fn shell_lines(&self) -> Vec<String> {
        let blocks = self.blocks_in("sh").map(|block| block.replace("\\\n", " "));
        blocks.flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// The anchors of the headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let anchor = |heading: &String| -> String {
            let dashed = heading.to_lowercase().replace(' ', "-");
            dashed.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect()
        };
        self.headings.iter().map(anchor).collect()
    }
}

/// Every page: those at the top, those below `docs` and that of the chart.
fn pages() -> Vec<Page> {
    let mut paths = vec![PathBuf::from("charts/cachepulse/README.md")];
    let mut folders = vec![PathBuf::from("docs")];
    paths.extend(entries(Path::new(".")).into_iter().filter(|path| is_markdown(path)));
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            if path.is_dir() {
                folders.push(path);
            } else if is_markdown(&path) {
                paths.push(path);
            }
        }
    }
    assert!(paths.len() >= 10, "{paths:?}");
    paths.into_iter().map(Page::read).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn is_markdown(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "md")
}

/// The words of a shell command, without variables before it, and without a redirection or a comment after it.
fn words(line: &str) -> Vec<&str> {
    let words = line.split_whitespace().skip_while(|word| word.contains('='));
    words.take_while(|word| !["#", ">", "|"].contains(word)).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    for page in pages() {
        for link in &page.links {
            let (path, anchor) =
                link.split_once('#').map_or((&**link, None), |(path, anchor)| (path, Some(anchor)));
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
fn every_block_of_yaml_is_valid_and_every_configuration_is_accepted() {
    let mut configurations = 0;
    for page in pages() {
        for block in page.blocks_in("yaml") {
            let document: Result<Value, _> = serde_yaml::from_str(block);
            let document =
                document.unwrap_or_else(|error| panic!("{}: {error}\n{block}", page.path.display()));
            if document.get("targets").is_some() {
                let here = block.replace("/run/secrets/", "examples/secrets/");
                Config::from_yaml("README.md", &here)
                    .unwrap_or_else(|problems| panic!("{problems}\n{block}"));
                configurations += 1;
            }
        }
    }
    assert!(configurations >= 2, "only {configurations}");
}

#[test]
fn every_cachepulse_command_in_a_shell_block_parses() {
    let mut commands = 0;
    for page in pages() {
        for line in page.shell_lines() {
            let words = words(&line);
            if words.first() == Some(&"cachepulse") {
                let parsed = cachepulse::cli::command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{}: {line}: {parsed:?}", page.path.display());
                commands += 1;
            }
        }
    }
    assert!(commands >= 8, "only {commands}");
}

#[test]
fn every_block_of_shell_commands_is_valid_shell() {
    let mut blocks = 0;
    for page in pages() {
        for block in page.blocks_in("sh") {
            let shell = Command::new("bash").args(["-n", "-c", block]).output();
            let shell = shell.unwrap_or_else(|error| panic!("this test needs bash; install it: {error}"));
            let said = String::from_utf8_lossy(&shell.stderr);
            assert!(shell.status.success(), "{}: {said}\n{block}", page.path.display());
            blocks += 1;
        }
    }
    assert!(blocks >= 20, "only {blocks}");
}

#[test]
fn every_metric_that_a_page_names_exists() {
    let mut known: BTreeSet<String> = DEFINITIONS.iter().map(|it| it.name.to_owned()).collect();
    for metric in DEFINITIONS {
        let suffixes: &[&str] = match metric.kind {
            MetricType::Histogram => &["_bucket", "_sum", "_count"],
            MetricType::Summary => &["_sum", "_count"],
            MetricType::Counter | MetricType::Gauge => &[],
        };
        known.extend(suffixes.iter().map(|suffix| format!("{}{suffix}", metric.name)));
    }
    for page in pages() {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        for (at, _) in page.text.match_indices("cachepulse_") {
            let name = page.text[at..].split(|c| !is_part(c)).next().unwrap();
            assert!(known.contains(name), "{}: {name}", page.path.display());
        }
    }
}

#[test]
fn every_flag_variable_and_make_target_that_a_page_names_exists() {
    // The flags of clap, and those of cargo that the pages use.
    const OTHERS: [&str; 7] = ["--help", "--version", "--locked", "--path", "--lib", "--test", "--root"];
    let command = cachepulse::cli::command();
    let arguments: Vec<_> = command.get_subcommands().flat_map(clap::Command::get_arguments).collect();
    let mut flags: BTreeSet<String> = OTHERS.map(str::to_owned).into();
    let names = arguments.iter().filter_map(|it| it.get_long_and_visible_aliases()).flatten();
    flags.extend(names.map(|name| format!("--{name}")));
    let variables: BTreeSet<&str> = arguments.iter().filter_map(|it| it.get_env()?.to_str()).collect();
    let targets = make_targets();
    for page in pages() {
        let place = page.path.display();
        // Lines of other programs, such as helm, have flags of their own.
        let ours = ["cachepulse", "make", "cargo"];
        let mut texts = page.shell_lines();
        texts.retain(|line| words(line).first().is_some_and(|program| ours.contains(program)));
        for text in texts.iter().chain(&page.spans) {
            let words: Vec<&str> = text.split([' ', '=', '`']).collect();
            for word in &words {
                assert!(!word.starts_with("--") || flags.contains(*word), "{place}: {word}");
                assert!(!word.starts_with("CACHEPULSE_") || variables.contains(word), "{place}: {word}");
            }
            if words.first() == Some(&"make") {
                assert!(words.get(1).is_none_or(|target| targets.contains(*target)), "{place}: {text}");
            }
        }
    }
}

#[test]
fn the_flags_that_may_be_used_with_a_file_are_listed() {
    let page = Page::read("docs/troubleshooting.md".into());
    let (_, list) = page.text.split_once("These may be used with it: ").unwrap();
    let (list, _) = list.split_once(".\n").unwrap();
    let listed: BTreeSet<&str> = list.split('`').filter(|it| it.starts_with("--")).collect();
    let flags = cachepulse::config::keys::all().filter_map(|key| key.about().flag);
    let allowed: BTreeSet<String> =
        flags.filter(|flag| flag.is_allowed_beside_file).map(|flag| flag.to_string()).collect();
    assert_eq!(listed, allowed.iter().map(String::as_str).collect());
}

fn make_targets() -> BTreeSet<String> {
    let mut files = entries(Path::new("make"));
    files.push("Makefile".into());
    let rules: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    rules.lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect()
}

#[test]
fn every_file_that_a_page_names_exists() {
    let folders = ["src/", "crates/", "tests/", "examples/", "docs/", "charts/", "deploy/", ".ci/"];
    for page in pages() {
        for name in &page.spans {
            let is_path = folders.iter().any(|folder| name.starts_with(folder)) && !name.contains(' ');
            assert!(!is_path || Path::new(name).exists(), "{}: {name}", page.path.display());
        }
    }
}

#[test]
fn every_figure_of_the_readmes_costs_is_in_the_measurements() {
    const UNITS: [&str; 5] = ["MiB", "ms", "µs", "%", "s"];
    let measured = Page::read("docs/performance.md".into()).text;
    let readme = Page::read("README.md".into()).text;
    let (_, section) = readme.split_once("\n## What it costs\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let words: Vec<&str> =
        section.split_whitespace().map(|word| word.trim_matches([',', '.', ':', ';', '(', ')'])).collect();
    let figures: Vec<String> = words
        .windows(2)
        .filter(|pair| pair[0].parse::<f64>().is_ok() && UNITS.contains(&pair[1]))
        .map(|pair| pair.join(" "))
        .collect();
    assert!(figures.len() >= 5, "{figures:?}");
    for figure in figures {
        assert!(measured.contains(&figure), "{figure} is not in docs/performance.md");
    }
}
