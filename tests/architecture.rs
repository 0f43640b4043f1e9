//! The architecture of `src`, as the table in `src/lib.rs` draws it: arrows between modules point
//! down, no files use each other in a circle, and `unsafe` stands only where the table allows it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};

/// A file as a path of modules: `engine::table::scan`.
type Module = Vec<String>;

/// The modules of the table, from top to bottom.
struct Layers(Vec<Layer>);

struct Layer {
    module: Module,
    may_be_unsafe: bool,
}

impl Layers {
    fn read(documentation: &str) -> Self {
        let table = documentation.split("# Modules").nth(1).and_then(|rest| rest.split("```").nth(1));
        let lines = table.expect("lib.rs has a table of modules").lines().skip(1);
        let rows = lines.filter_map(|line| {
            let mut words = line.trim_start_matches("//!").split_whitespace();
            let module = words.next()?.split("::").map(String::from).collect();
            Some(Layer { module, may_be_unsafe: words.next() == Some("*") })
        });
        Self(rows.collect())
    }

    /// The layer of a file: the one whose name says most of it.
    fn of(&self, file: &Module) -> Option<usize> {
        let layers = self.0.iter().enumerate().filter(|(_, layer)| file.starts_with(&layer.module));
        layers.max_by_key(|(_, layer)| layer.module.len()).map(|(n, _)| n)
    }
}

/// Which file uses which, and which have unsafe code.
#[derive(Default)]
struct Uses {
    arrows: BTreeMap<Module, BTreeSet<Module>>,
    with_unsafe: BTreeSet<Module>,
}

impl Uses {
    /// Reads files, each a module with its source.
    fn read(files: &[(Module, String)]) -> Self {
        let modules: BTreeSet<Module> = files.iter().map(|(module, _)| module.clone()).collect();
        let mut uses = Self::default();
        for (module, source) in files {
            let file = syn::parse_file(source).expect("Rust");
            let mut reader =
                Reader { module, modules: &modules, depth: 0, names: BTreeMap::new(), uses: &mut uses };
            for item in &file.items {
                if let syn::Item::Use(item) = item {
                    reader.read_use(Vec::new(), &item.tree);
                }
            }
            reader.visit_file(&file);
        }
        uses
    }

    /// Files that can be reached from themselves.
    fn in_circles(&self) -> Vec<String> {
        let is_in_one = |file: &&Module| self.reached_from(file).contains(*file);
        self.arrows.keys().filter(is_in_one).map(|file| file.join("::")).collect()
    }

    fn reached_from<'a>(&'a self, file: &'a Module) -> BTreeSet<&'a Module> {
        let (mut reached, mut next) = (BTreeSet::new(), vec![file]);
        while let Some(file) = next.pop() {
            next.extend(self.arrows.get(file).into_iter().flatten().filter(|&to| reached.insert(to)));
        }
        reached
    }

    fn pointing_up(&self, layers: &Layers) -> Vec<String> {
        let arrows = self.arrows.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to)));
        let wrong = arrows.filter(|(from, to)| match (layers.of(from), layers.of(to)) {
            (Some(from), Some(to)) => from > to,
            _ => true,
        });
        wrong.map(|(from, to)| format!("{} uses {}", from.join("::"), to.join("::"))).collect()
    }

    fn unsafe_beyond(&self, layers: &Layers) -> Vec<String> {
        let is_fenced = |file: &&Module| layers.of(file).is_some_and(|n| layers.0[n].may_be_unsafe);
        self.with_unsafe.iter().filter(|file| !is_fenced(file)).map(|file| file.join("::")).collect()
    }
}

/// Reads one file.
struct Reader<'a> {
    module: &'a Module,
    modules: &'a BTreeSet<Module>,
    /// How many modules inside of the file it is in.
    depth: usize,
    /// The names that `use` lines bring, with their paths.
    names: BTreeMap<String, Module>,
    uses: &'a mut Uses,
}

impl Reader<'_> {
    fn read_use(&mut self, mut path: Vec<String>, tree: &syn::UseTree) {
        let bring = |reader: &mut Self, mut path: Vec<String>, name: String, alias: String| {
            if name != "self" {
                path.push(name);
            }
            if let Some(full) = reader.resolve(&path) {
                reader.note(&path);
                reader.names.insert(alias, full);
            }
        };
        match tree {
            syn::UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.read_use(path, &part.tree);
            }
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.read_use(path.clone(), tree))
            }
            syn::UseTree::Name(it) if it.ident == "self" => {
                let alias = path.last().cloned().unwrap_or_default();
                bring(self, path, "self".into(), alias);
            }
            syn::UseTree::Name(it) => bring(self, path, it.ident.to_string(), it.ident.to_string()),
            syn::UseTree::Rename(it) => bring(self, path, it.ident.to_string(), it.rename.to_string()),
            syn::UseTree::Glob(_) => {
                path.push("*".into());
                self.note(&path);
            }
        }
    }

    /// The full path in this crate; none if it leads elsewhere.
    fn resolve(&self, path: &[String]) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let mut full = match first.as_str() {
            "crate" => Vec::new(),
            "self" => self.module.clone(),
            "super" => {
                let ups = path.iter().take_while(|part| *part == "super").count().saturating_sub(self.depth);
                let mut parent = self.module.clone();
                parent.truncate(parent.len().saturating_sub(ups));
                parent
            }
            name => self.names.get(name).cloned().or_else(|| {
                let child = [self.module.clone(), vec![name.to_string()]].concat();
                self.modules.contains(&child).then_some(child)
            })?,
        };
        full.extend(rest.iter().filter(|part| *part != "super").cloned());
        Some(full)
    }

    /// Notes the file that a path leads to. A module that is only named is no use of it.
    fn note(&mut self, path: &[String]) {
        let Some(full) = self.resolve(path) else { return };
        let length = (0..=full.len()).rev().find(|&n| self.modules.contains(&full[..n])).unwrap_or(0);
        let target = full[..length].to_vec();
        if length < full.len() && target != *self.module && !target.is_empty() {
            self.uses.arrows.entry(self.module.clone()).or_default().insert(target);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let is_test = |attribute: &syn::Attribute| match &attribute.meta {
            syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
            _ => false,
        };
        if !item.attrs.iter().any(is_test) {
            self.depth += 1;
            visit::visit_item_mod(self, item);
            self.depth -= 1;
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let path_of: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.note(&path_of);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let expressions = |input: ParseStream| {
            Punctuated::<syn::Expr, syn::Token![,]>::parse_terminated_with(input, Parse::parse)
        };
        if let Ok(arguments) = call.parse_body_with(expressions) {
            let arguments: &'ast Punctuated<_, _> = Box::leak(Box::new(arguments));
            arguments.iter().for_each(|argument| self.visit_expr(argument));
        }
    }

    fn visit_item_impl(&mut self, block: &'ast syn::ItemImpl) {
        if block.unsafety.is_some() {
            self.uses.with_unsafe.insert(self.module.clone());
        }
        visit::visit_item_impl(self, block);
    }

    fn visit_expr_unsafe(&mut self, block: &'ast syn::ExprUnsafe) {
        self.uses.with_unsafe.insert(self.module.clone());
        visit::visit_expr_unsafe(self, block);
    }
}

fn files_of(folder: &Path, module: &Module, all: &mut Vec<(Module, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of src") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let of = |name: &str| [module.clone(), vec![name.to_string()]].concat();
        if path.is_dir() {
            files_of(&path, &of(&name), all);
        } else {
            let module = if name == "mod" || name == "lib" { module.clone() } else { of(&name) };
            all.push((module, fs::read_to_string(&path).expect("a source file")));
        }
    }
}

/// The files of the extension, but for its tests and the root.
fn files() -> Vec<(Module, String)> {
    let mut all = Vec::new();
    files_of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &Vec::new(), &mut all);
    all.retain(|(module, _)| module.first().is_some_and(|first| first != "tests"));
    all
}

fn layers() -> Layers {
    Layers::read(include_str!("../src/lib.rs"))
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    assert_eq!(Uses::read(&files()).in_circles(), [""; 0]);
}

#[test]
fn every_arrow_points_down_the_table_of_modules() {
    assert_eq!(Uses::read(&files()).pointing_up(&layers()), [""; 0]);
}

#[test]
fn the_functions_of_sql_run_no_statements_of_their_own() {
    let uses = Uses::read(&files());
    let statement: Module = ["engine", "table", "statement"].map(String::from).to_vec();
    let runs = |(file, used): &(&Module, &BTreeSet<Module>)| file[0] == "api" && used.contains(&statement);
    assert_eq!(uses.arrows.iter().filter(runs).map(|(file, _)| file.join("::")).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn unsafe_code_stands_only_in_modules_that_are_marked() {
    assert_eq!(Uses::read(&files()).unsafe_beyond(&layers()), [""; 0]);
}

#[test]
fn every_module_of_the_table_is_there_and_every_file_is_in_one() {
    let (files, layers) = (files(), layers());
    let lost = files.iter().map(|(file, _)| file).filter(|file| layers.of(file).is_none());
    assert_eq!(
        lost.map(|file| file.join("::"))
            .filter(|file| file != "engine" && file != "install")
            .collect::<Vec<_>>(),
        [""; 0]
    );
    let empty =
        layers.0.iter().filter(|layer| !files.iter().any(|(file, _)| file.starts_with(&layer.module)));
    assert_eq!(empty.map(|layer| layer.module.join("::")).collect::<Vec<_>>(), [""; 0]);
}

/// Tests of the reader: it finds each fault of a wrong file.
mod reader {
    use super::*;

    const TABLE: &str = "//! # Modules\n//! ```text\n//! upper * may be unsafe\n//! lower may not\n//! ```\n";

    fn read(files: &[(&str, &str)]) -> Uses {
        let file = |&(module, source): &(&str, &str)| {
            (module.split("::").map(String::from).collect(), source.to_string())
        };
        Uses::read(&files.iter().map(file).collect::<Vec<_>>())
    }

    #[test]
    fn a_circle_is_found_however_it_is_written() {
        for (there, back) in [
            ("use crate::lower::b::B; fn f() -> B {}", "use crate::lower::a::f; fn g() { f() }"),
            ("use super::b; fn f() { b::g() }", "fn g() { super::a::f() }"),
            (
                "use super::{b::{self, B}}; fn f(_: B) {}",
                "use crate::lower::a as other; fn g() { other::f() }",
            ),
            ("fn f() { crate::lower::b::g() }", "mod inside { fn g() { super::super::a::f() } }"),
            ("fn f() { assert!(crate::lower::b::g()) }", "use super::a::*;"),
        ] {
            let uses = read(&[("lower", ""), ("lower::a", there), ("lower::b", back)]);
            assert_eq!(uses.in_circles(), ["lower::a", "lower::b"], "{there} and {back}");
        }
    }

    #[test]
    fn a_module_that_is_named_and_a_test_are_no_uses() {
        let there = "use crate::lower::b; fn f() {}";
        let back = "#[cfg(test)] mod tests { use crate::lower::a::f; }";
        let uses = read(&[("lower", ""), ("lower::a", there), ("lower::b", back)]);
        assert_eq!(uses.arrows, BTreeMap::new());
    }

    #[test]
    fn an_arrow_up_is_found_and_one_down_is_not() {
        let files = [("upper", "use crate::lower::g;"), ("lower", "use crate::upper::f;")];
        assert_eq!(read(&files).pointing_up(&Layers::read(TABLE)), ["lower uses upper"]);
    }

    #[test]
    fn unsafe_code_is_found_where_it_must_not_be() {
        for code in ["fn f() { let _ = || unsafe { g() }; }", "unsafe impl Send for T {}"] {
            let uses = read(&[("upper", code), ("lower", code)]);
            assert_eq!(uses.unsafe_beyond(&Layers::read(TABLE)), ["lower"], "{code}");
        }
    }
}
