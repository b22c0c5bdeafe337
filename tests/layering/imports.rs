//! The imports between files: which file of `src/` uses an item of which other file. A path through a `pub
//! use` leads to the file that defines the item, and code that is compiled for tests alone does not count.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

/// The path of a module from the root of the library: `[cache, store]`; `[main]` for the binary.
type Module = Vec<String>;

/// A file of `src/` as its code says it.
#[derive(Default)]
struct File {
    /// Its name below `src/`.
    name: String,
    /// Names that it imports for itself, and what each means.
    imports: BTreeMap<String, Vec<String>>,
    /// Names that others may import from it, and what each means.
    exports: BTreeMap<String, Vec<String>>,
    /// Paths in its code.
    paths: Vec<Vec<String>>,
    /// Names of the types that it defines.
    types: Vec<String>,
    /// Child modules that are compiled for tests alone.
    for_tests: Vec<String>,
}

/// The files of `src/` by module, without those for tests.
pub(super) struct Imports(BTreeMap<Module, File>);

/// The file of a user, the file that it uses, and the items.
pub(super) type Uses = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

// === impl Imports ===

impl Imports {
    /// Reads all files: their names below `src/`, and their text.
    pub(super) fn of<'a>(sources: impl Iterator<Item = (&'a str, &'a str)>) -> Imports {
        let mut files: BTreeMap<Module, File> =
            sources.map(|(name, text)| (module_of(name), File::read(name, text))).collect();
        let for_tests: Vec<Module> = files
            .iter()
            .flat_map(|(module, file)| file.for_tests.iter().map(|child| child_of(module, child)))
            .collect();
        files.retain(|module, _| !for_tests.iter().any(|tests| module.starts_with(tests)));
        Imports(files)
    }

    /// The types that are defined more than once, with their files.
    pub(super) fn types_defined_twice(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut types: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for file in self.0.values() {
            for name in &file.types {
                types.entry(name).or_default().push(&file.name);
            }
        }
        types.retain(|_, files| files.len() > 1);
        types
    }

    /// The uses that are part of a cycle: of a file that is used by what it uses, directly or through others.
    pub(super) fn cycles(&self) -> Uses {
        let mut uses = self.uses();
        let reached: BTreeMap<String, BTreeSet<String>> =
            uses.keys().map(|user| (user.clone(), reached_from(user, &uses))).collect();
        for (user, used) in &mut uses {
            used.retain(|other, _| reached.get(other).is_some_and(|files| files.contains(user)));
        }
        uses.retain(|_, used| !used.is_empty());
        uses
    }

    fn uses(&self) -> Uses {
        let mut uses = Uses::new();
        for (module, file) in &self.0 {
            let through_import = |path: &Vec<String>| {
                let imported = file.imports.get(&path[0])?;
                self.absolute(module, &[imported, &path[1..]].concat())
            };
            let named = file.paths.iter().chain(file.imports.values());
            for path in named.filter_map(|path| self.absolute(module, path).or_else(|| through_import(path)))
            {
                if let Some((other, item)) = self.definition(&path).filter(|(other, _)| *other != file.name) {
                    uses.entry(file.name.clone()).or_default().entry(other).or_default().insert(item);
                }
            }
        }
        uses
    }

    /// The path from the root of the library, of one that begins with `crate`, `self`, `super` or a child.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Vec<String>> {
        match path[0].as_str() {
            "crate" => Some(path[1..].to_vec()),
            "nearside" if module == ["main"] => Some(path[1..].to_vec()),
            "self" => Some([module, &path[1..]].concat()),
            "super" => {
                let parent = [&["self".to_owned()][..], &path[1..]].concat();
                self.absolute(module.split_last()?.1, &parent)
            }
            child => self.0.contains_key(&child_of(module, child)).then(|| [module, path].concat()),
        }
    }

    /// The file that defines the item at this path, and the item; none for a path that is a module.
    fn definition(&self, path: &[String]) -> Option<(String, String)> {
        let of_module = |length| Some((length, self.0.get(&path[..length])?));
        let (length, file) = (0..=path.len()).rev().find_map(of_module)?;
        let (item, rest) = path[length..].split_first()?;
        match file.exports.get(item) {
            Some(meant) => self.definition(&[self.absolute(&path[..length], meant)?, rest.to_vec()].concat()),
            None => Some((file.name.clone(), item.clone())),
        }
    }
}

// === impl File ===

impl File {
    fn read(name: &str, text: &str) -> File {
        let mut file = File { name: name.to_owned(), ..File::default() };
        file.visit_file(&syn::parse_file(text).unwrap());
        file
    }

    fn take_use(&mut self, is_public: bool, before: &[String], tree: &UseTree) {
        let with = |name: String| [before, &[name]].concat();
        let (path, name) = match tree {
            UseTree::Path(path) => {
                return self.take_use(is_public, &with(path.ident.to_string()), &path.tree);
            }
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.take_use(is_public, before, tree));
            }
            UseTree::Glob(_) => return,
            UseTree::Name(name) if name.ident == "self" => {
                (before.to_vec(), before[before.len() - 1].clone())
            }
            UseTree::Name(name) => (with(name.ident.to_string()), name.ident.to_string()),
            UseTree::Rename(name) => (with(name.ident.to_string()), name.rename.to_string()),
        };
        let names = if is_public { &mut self.exports } else { &mut self.imports };
        names.insert(name, path);
    }
}

impl<'a> Visit<'a> for File {
    fn visit_item(&mut self, item: &'a Item) {
        let (attributes, defined) = match item {
            Item::Mod(item) => (&item.attrs, None),
            Item::Fn(item) => (&item.attrs, None),
            Item::Impl(item) => (&item.attrs, None),
            Item::Use(item) => (&item.attrs, None),
            Item::Const(item) => (&item.attrs, None),
            Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            Item::Type(item) => (&item.attrs, Some(&item.ident)),
            _ => return visit::visit_item(self, item),
        };
        match item {
            Item::Mod(item) if is_for_tests(attributes) => self.for_tests.push(item.ident.to_string()),
            _ if is_for_tests(attributes) => {}
            Item::Use(item) => {
                self.take_use(!matches!(item.vis, syn::Visibility::Inherited), &[], &item.tree);
            }
            _ => {
                self.types.extend(defined.map(ToString::to_string));
                visit::visit_item(self, item);
            }
        }
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        if !is_for_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        self.paths.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    /// What a macro is called with is no code yet: all that looks like a path counts.
    fn visit_macro(&mut self, called: &'a syn::Macro) {
        let tokens = called.tokens.to_string().replace(" :: ", "::");
        let paths = tokens.split(|letter: char| !letter.is_alphanumeric() && !"_:".contains(letter));
        for path in paths.filter(|path| path.contains("::") && !path.starts_with(':')) {
            self.paths.push(path.split("::").map(str::to_owned).collect());
        }
    }
}

fn module_of(name: &str) -> Module {
    let mut module: Module = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") || name == "lib.rs" {
        module.pop();
    }
    module
}

fn child_of(module: &[String], child: &str) -> Module {
    [module, &[child.to_owned()]].concat()
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")).any(|attribute| {
        let condition = attribute.meta.require_list().unwrap().tokens.to_string();
        condition == "test" || condition.starts_with("all (test")
    })
}

/// All files that `user` uses, directly or through others.
fn reached_from(user: &str, uses: &Uses) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next = vec![user];
    while let Some(file) = next.pop() {
        for other in uses.get(file).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(other.clone()) {
                next.push(other);
            }
        }
    }
    reached
}
