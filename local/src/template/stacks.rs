//! The two stacks of a deployment; the outputs of one are parameters of the other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Map;

use super::{Template, Values};

/// The parameter that a database of the operator's own always needs.
const ADDRESS: &str = "DatabaseAddress";

/// `template.yaml`, and `template/database.yaml` beside it.
#[derive(Clone, Debug)]
pub struct Stacks {
    /// The API and the functions.
    pub functions: Template,
    /// The cluster and its network. Its outputs are parameters of the functions' stack.
    pub database: Template,
}

/// Both stacks with their parameters decided.
#[derive(Debug)]
pub struct Deployment<'a> {
    /// Of the functions' stack.
    pub functions: Values<'a>,
    /// Of the database's; `None` if the database is one of the operator's own.
    pub database: Option<Values<'a>>,
}

impl Stacks {
    /// Reads both.
    ///
    /// # Errors
    /// A file that cannot be read, or is no YAML of mappings with text keys.
    pub fn read(template: &Path) -> Result<Self> {
        let database = template.with_file_name("template").join("database.yaml");
        Ok(Self {
            functions: Template::read(template)?,
            database: Template::read(&database)?,
        })
    }

    /// Decides the parameters. Each stack takes those that it declares; if `DatabaseAddress` is not among them, the
    /// functions' stack also takes the outputs of the database's.
    ///
    /// # Errors
    /// A parameter that neither stack declares, or a value that is not allowed; the line says which are.
    pub fn deployment(&self, given: &BTreeMap<String, String>) -> Result<Deployment<'_>> {
        let of = |template: &Template| {
            let declared = template.at("/Parameters");
            let given = given.iter().filter(|(name, _)| declared.get(name).is_some());
            given
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect::<BTreeMap<_, _>>()
        };
        let parameters = [&self.functions, &self.database].map(|template| template.at("/Parameters").as_object());
        let declared: BTreeSet<_> = parameters.into_iter().flatten().flat_map(Map::keys).collect();
        if let Some(unknown) = given.keys().find(|name| !declared.contains(name)) {
            let declared: Vec<_> = declared.into_iter().map(String::as_str).collect();
            bail!(
                "no template has a parameter {unknown}; they have {}",
                declared.join(", ")
            );
        }
        let (mut functions, database) = (of(&self.functions), of(&self.database));
        let database = if given.contains_key(ADDRESS) {
            None
        } else {
            let database = Values::new(&self.database, &database)?;
            for (name, value) in database.outputs() {
                functions.entry(name).or_insert(value);
            }
            Some(database)
        };
        Ok(Deployment {
            functions: Values::new(&self.functions, &functions)?,
            database,
        })
    }
}
