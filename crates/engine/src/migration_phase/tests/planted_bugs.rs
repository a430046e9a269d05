//! The planted bugs of `tests/planted-bugs`: that each still fits the source and names a property that is there. That each makes its
//! property fail takes a build per bug, and is what `cargo xtask planted-bugs` shows.

use std::{collections::BTreeSet, fs, path::PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

struct Bug {
    file: String,
    text: String,
}

impl Bug {
    fn header(&self, name: &str) -> &str {
        let line = self.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("{}: no {name}", self.file))
    }

    /// The file that it changes, and what has to be there, hunk by hunk.
    fn expects(&self) -> (&str, Vec<String>) {
        let file = self.text.lines().find_map(|line| line.strip_prefix("--- a/")).unwrap();
        let mut hunks = Vec::new();
        for line in self.text.lines().skip_while(|line| !line.starts_with("@@")) {
            match line.split_at_checked(1) {
                Some(("@", _)) => hunks.push(String::new()),
                Some((" " | "-", rest)) => hunks.last_mut().unwrap().extend([rest, "\n"]),
                Some(("+", _)) => {}
                _ => panic!("{}: {line:?}", self.file),
            }
        }
        (file, hunks)
    }
}

fn bugs() -> Vec<Bug> {
    let entries = fs::read_dir(root().join("tests/planted-bugs")).unwrap().map(|entry| entry.unwrap().path());
    let patches = entries.filter(|path| path.extension().is_some_and(|extension| extension == "patch"));
    patches.map(|path| Bug { file: path.display().to_string(), text: fs::read_to_string(path).unwrap() }).collect()
}

#[test]
fn planted_bugs_fit_the_source_and_name_a_property() {
    let tests = root().join("crates/engine/src/migration_phase/tests");
    let of_routes = ["environment", "traffic_split", "router"]
        .map(|module| root().join("crates/engine/src").join(module).join("tests"));
    let folders = [tests.clone(), tests.join("simulator")].into_iter().chain(of_routes);
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let sources: String = files.filter(|path| path.is_file()).map(|path| fs::read_to_string(path).unwrap()).collect();
    let bugs = bugs();
    assert!(bugs.len() >= 15, "{} planted bugs", bugs.len());
    let mut properties = BTreeSet::new();
    for bug in &bugs {
        let (file, hunks) = bug.expects();
        let source = fs::read_to_string(root().join(file)).unwrap();
        for hunk in hunks {
            assert_eq!(source.matches(&hunk).count(), 1, "{} does not fit {file} any more:\n{hunk}", bug.file);
        }
        assert!(!bug.header("Bug").is_empty());
        let run: Vec<_> = bug.header("Run").split("::").collect();
        let [module, "tests", of, ..] = *run else { panic!("{}: Run is no path of tests", bug.file) };
        let of = root().join("crates/engine/src").join(module).join("tests").join(of);
        assert!(of.is_dir() || of.with_extension("rs").is_file(), "{}: there is no {}", bug.file, of.display());
        let property = bug.header("Property");
        let named = sources.contains(&format!("\"{property}\"")) || sources.contains(&format!("fn {property}("));
        assert!(named, "{}: there is no property {property}", bug.file);
        properties.insert(property);
    }
    assert!(properties.len() >= 15, "{} different properties fail", properties.len());
}
