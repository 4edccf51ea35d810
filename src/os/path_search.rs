//! How Windows finds a program by its name: with the extensions that `PATHEXT` lists. `std` looks for `.exe` only, and `az` is a
//! batch file, `az.cmd`.

use std::path::{Path, PathBuf};

/// The value of `PATHEXT` where it is not set.
pub(super) const EXTENSIONS: &str = ".COM;.EXE;.BAT;.CMD";

/// Returns the path of the program `name` in the first of `folders` that has it, with the first of `extensions` that fits.
/// `exists` returns whether there is such a file. `None` if there is none, and if `name` is a path.
pub(super) fn find(
    name: &str,
    folders: impl IntoIterator<Item = PathBuf>,
    extensions: &str,
    exists: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    if name.contains(['/', '\\', ':']) {
        return None;
    }
    let extensions = || extensions.split(';').filter(|extension| extension.len() > 1);
    let has_extension = extensions().any(|extension| ends_with(name, extension));
    // A file without an extension is a script for another system, such as the one beside az.cmd.
    let names: Vec<String> = if has_extension {
        vec![name.to_owned()]
    } else {
        extensions().map(|extension| format!("{name}{}", extension.to_ascii_lowercase())).collect()
    };
    // A relative folder means nothing to an agent.
    let folders = folders.into_iter().filter(|folder| folder.is_absolute());
    folders
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)).collect::<Vec<_>>())
        .find(|path| exists(path))
}

fn ends_with(name: &str, extension: &str) -> bool {
    let start = name.len().checked_sub(extension.len());
    start.and_then(|start| name.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [&str; 6] = [
        "/azure/az",
        "/azure/az.cmd",
        "/azure/az.ps1",
        "/later/az.exe",
        "/later/tool.exe",
        "relative/tool.exe",
    ];

    fn found(name: &str, extensions: &str) -> Option<String> {
        let folders = ["relative", "/empty", "/azure", "/later"].map(PathBuf::from);
        let path = find(name, folders, extensions, |path| FILES.iter().any(|file| path == Path::new(file)));
        path.map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_program_is_found_with_the_extensions_of_programs() {
        for (name, expected) in [
            ("az", Some("/azure/az.cmd")),
            ("az.cmd", Some("/azure/az.cmd")),
            ("az.exe", Some("/later/az.exe")),
            ("tool", Some("/later/tool.exe")),
            // ps1 is no extension of programs.
            ("az.ps1", None),
            ("azd", None),
            ("é", None),
            ("", None),
        ] {
            assert_eq!(found(name, EXTENSIONS).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn the_extensions_are_tried_in_their_order() {
        assert_eq!(found("az", ".PS1;.CMD").as_deref(), Some("/azure/az.ps1"));
        assert_eq!(found("az", ";.;.cmd").as_deref(), Some("/azure/az.cmd"));
    }

    #[test]
    fn a_path_is_no_name() {
        for path in ["/azure/az", r"C:\azure\az", r".\az", "C:az"] {
            assert_eq!(found(path, EXTENSIONS), None, "{path}");
        }
    }
}
