//! Manifests from files, folders and standard input. Everything that cannot be read is told at once, with file, document and field.

use std::{
    fmt::Write as _,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use cutover_api::{GROUP, VERSION};
use cutover_engine::simulate::{Manifests, Sourced};
use kube::Resource;
use serde::{Deserialize, de::DeserializeOwned};
use serde_yaml_ng::Value;

const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// Reads everything that is named. Objects that say no namespace are in `namespace`.
pub(crate) fn read(paths: &[PathBuf], namespace: Option<&str>) -> Result<Manifests> {
    let mut reading = Reading { manifests: Manifests::default(), problems: Vec::new(), namespace };
    let mut found = 0;
    for path in paths {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
            reading.text("standard input", &text);
            found += 1;
            continue;
        }
        let files = files(path)?;
        found += files.len();
        for file in files {
            let text = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
            reading.text(&file.display().to_string(), &text);
        }
    }
    if found == 0 {
        bail!("there is no *.yaml, *.yml or *.json below what -f names");
    }
    if !reading.problems.is_empty() {
        let mut text = format!("{} document(s) cannot be read:", reading.problems.len());
        for problem in &reading.problems {
            let _ = write!(text, "\n  {problem}");
        }
        bail!(text);
    }
    Ok(reading.manifests)
}

fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    let entries = fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut entries = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    entries.sort();
    for entry in entries {
        let named = entry.extension().and_then(|extension| extension.to_str());
        if entry.is_dir() {
            found.extend(files(&entry)?);
        } else if named.is_some_and(|named| EXTENSIONS.contains(&named)) {
            found.push(entry);
        }
    }
    Ok(found)
}

struct Reading<'a> {
    manifests: Manifests,
    problems: Vec<String>,
    namespace: Option<&'a str>,
}

impl Reading<'_> {
    fn text(&mut self, file: &str, text: &str) {
        for (i, document) in serde_yaml_ng::Deserializer::from_str(text).enumerate() {
            let origin = format!("{file}, document {}", i + 1);
            match Value::deserialize(document) {
                Ok(value) => self.value(&origin, value),
                Err(error) => {
                    let template = text.contains("{{");
                    let hint = if template {
                        "; a template has to be rendered first: `helm template … | kubectl cutover plan -f -`"
                    } else {
                        ""
                    };
                    self.problems.push(format!("{origin}: {error}{hint}"));
                    // The parser does not find the next document.
                    return;
                }
            }
        }
    }

    fn value(&mut self, origin: &str, value: Value) {
        let word = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = word("kind").to_owned();
        if kind == "List" {
            if let Some(Value::Sequence(items)) = value.get("items") {
                for item in items.clone() {
                    self.value(origin, item);
                }
            }
            return;
        }
        let version = word("apiVersion");
        if version != format!("{GROUP}/{VERSION}") {
            if version.split('/').next() == Some(GROUP) {
                let problem = format!("{origin}: apiVersion {version} is not known: write {GROUP}/{VERSION}");
                self.problems.push(problem);
            }
            // What belongs to others is theirs.
            return;
        }
        let outcome = match kind.as_str() {
            "Environment" => object(origin, value, self.namespace).map(|o| self.manifests.environments.push(o)),
            "TrafficSplit" => object(origin, value, self.namespace).map(|o| self.manifests.splits.push(o)),
            "FeatureFlag" => object(origin, value, self.namespace).map(|o| self.manifests.flags.push(o)),
            "MigrationPhase" => object(origin, value, self.namespace).map(|o| self.manifests.phases.push(o)),
            "PhaseAction" => Ok(()),
            other => Err(format!("{origin}: {GROUP} has no kind {other}")),
        };
        if let Err(problem) = outcome {
            self.problems.push(problem);
        }
    }
}

fn object<K>(origin: &str, value: Value, namespace: Option<&str>) -> Result<Sourced<K>, String>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let name = value.get("metadata").and_then(|meta| meta.get("name")).and_then(Value::as_str).map(str::to_owned);
    let read: Result<K, _> = serde_path_to_error::deserialize(value);
    let name = name.unwrap_or_else(|| "without a name".to_owned());
    let mut object = read.map_err(|error| {
        let field = error.path().to_string();
        format!("{origin}: {} {name}: {field}: {}", K::kind(&()), error.into_inner())
    })?;
    if object.meta().name.is_none() {
        return Err(format!("{origin}: {}: metadata.name: it needs a name", K::kind(&())));
    }
    let space = namespace.unwrap_or("default");
    object.meta_mut().namespace.get_or_insert_with(|| space.to_owned());
    Ok(Sourced { origin: origin.to_owned(), object })
}
