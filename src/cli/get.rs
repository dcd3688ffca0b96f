//! `get`: lists objects, once or for as long as they change.

use clap::Args;
use serde_json::Value;

use super::client::{As, Client};
use super::hint;
use super::jsonpath::Template;
use super::output::{self, Output};
use super::path::{self, Query};
use super::resource::{self, Asked, Resources};
use super::table::{Printer, Style};
use super::{Context, Failure, files, print};
use crate::object::kind::KindRef;

/// Show objects
#[derive(Debug, Default, Args)]
pub struct GetArgs {
    /// TYPE, TYPE NAME..., TYPE/NAME..., TYPE,TYPE or all
    #[arg(value_name = "TYPE[/NAME]")]
    resources: Vec<String>,
    #[command(flatten)]
    files: files::FileArgs,
    /// wide, yaml, json, name, jsonpath=TEMPLATE or custom-columns=HEADING:PATH,...
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: String,
    /// Objects of every namespace
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only objects with these labels: a=b,c!=d,e in (f,g)
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// Only objects with these fields: metadata.name=web
    #[arg(long)]
    field_selector: Option<String>,
    /// Go on, and print each object that changes
    #[arg(short, long)]
    watch: bool,
    /// As --watch, without the objects that are there now
    #[arg(long)]
    watch_only: bool,
    /// Put what happened to the object (ADDED, MODIFIED, DELETED) before it
    #[arg(long)]
    output_watch_events: bool,
    /// No line with the names of the columns
    #[arg(long)]
    no_headers: bool,
    /// A column with all labels
    #[arg(long)]
    show_labels: bool,
    /// A column for each of these labels
    #[arg(short = 'L', long, value_delimiter = ',')]
    label_columns: Vec<String>,
    /// The kind before each name
    #[arg(long)]
    show_kind: bool,
    /// Order by the value at this path, e.g. .metadata.creationTimestamp
    #[arg(long, value_name = "PATH")]
    sort_by: Option<String>,
    /// No error when an object is not there
    #[arg(long)]
    ignore_not_found: bool,
    /// Print what the API answers at this path, as it is
    #[arg(long, value_name = "PATH")]
    raw: Option<String>,
    #[arg(long, hide = true)]
    chunk_size: Option<u64>,
    /// Who owns which field, in yaml and json
    #[arg(long)]
    show_managed_fields: bool,
}

impl GetArgs {
    /// What writes objects that are no table.
    fn writer(&self) -> fn(&Output, Vec<Value>, bool, bool) -> Result<String, Failure> {
        if self.show_managed_fields { output::objects_with_managed_fields } else { output::objects }
    }
}

pub async fn run(args: GetArgs, cx: &Context) -> Result<(), Failure> {
    if let Some(path) = &args.raw {
        return super::logs::copy(&cx.client, path).await;
    }
    let output = Output::parse(&args.output)?;
    let resources = if args.files.is_given() {
        named_in_files(&args, cx)?
    } else if args.resources.is_empty() {
        return Err(nothing_asked());
    } else {
        let resources = resource::parse(&args.resources, "get")?;
        vec![(cx.namespace.clone(), resources)]
    };
    if args.all_namespaces && resources.iter().any(|(_, r)| r.names() > 0) {
        return Err(Failure::error("a resource cannot be retrieved by name across all namespaces"));
    }
    let sort_by = args.sort_by.as_deref().map(Template::parse_relaxed).transpose();
    let sort_by = sort_by.map_err(|e| Failure::error(format!("--sort-by: {e}")))?;
    let get = Get { args: &args, cx, output, sort_by };
    if args.watch || args.watch_only { get.watch(&resources).await } else { get.once(&resources).await }
}

/// All objects of one type, for commands that are another name for `get`.
pub async fn list(cx: &Context, resource: &str, output: &str) -> Result<(), Failure> {
    let args = GetArgs { resources: vec![resource.to_string()], output: output.to_string(), ..GetArgs::default() };
    run(args, cx).await
}

fn nothing_asked() -> Failure {
    let program = super::program();
    Failure::verbatim(format!(
        "You must specify the type of resource to get. Use \"{program} api-resources\" for a complete list of supported \
         resources.\n"
    ))
    .hint(format!("{program} get pods, {program} get all"))
}

/// The objects that `-f` files name, by namespace.
fn named_in_files(args: &GetArgs, cx: &Context) -> Result<Vec<(String, Resources)>, Failure> {
    let mut by_namespace: Vec<(String, Resources)> = Vec::new();
    for document in files::read(&args.files, files::Purpose::Name, cx)? {
        let (kind, namespace, name) = (document.kind, document.namespace.clone(), document.name.clone());
        let at = match by_namespace.iter().position(|(n, _)| *n == namespace) {
            Some(at) => at,
            None => {
                by_namespace.push((namespace, Resources::default()));
                by_namespace.len() - 1
            }
        };
        if let Some((_, resources)) = by_namespace.get_mut(at) {
            match resources.asked.last_mut().filter(|last| last.kind == kind) {
                Some(last) => last.names.push(name),
                None => resources.asked.push(Asked { kind, names: vec![name] }),
            }
            resources.mixed = resources.asked.len() > 1;
        }
    }
    Ok(by_namespace)
}

struct Get<'a> {
    args: &'a GetArgs,
    cx: &'a Context,
    output: Output,
    sort_by: Option<Template>,
}

impl Get<'_> {
    fn query(&self) -> Query {
        Query::new()
            .with_some("labelSelector", self.args.selector.as_deref())
            .with_some("fieldSelector", self.args.field_selector.as_deref())
    }

    fn client(&self) -> &Client {
        &self.cx.client
    }

    async fn once(&self, resources: &[(String, Resources)]) -> Result<(), Failure> {
        let mut failures = Vec::new();
        if self.output.is_table() {
            self.tables(resources, &mut failures).await?;
        } else {
            self.objects(resources, &mut failures).await?;
        }
        Failure::all(failures)
    }

    /// A name that is not there is told after what is.
    async fn missed(
        &self,
        error: super::client::ClientError,
        (kind, namespace, name): (KindRef, &str, &str),
        failures: &mut Vec<Failure>,
    ) -> Result<(), Failure> {
        if !error.is_not_found() {
            return Err(error.into());
        }
        if !self.args.ignore_not_found {
            failures.push(Failure::from(error).hints(hint::for_missing(self.cx, kind, namespace, name).await));
        }
        Ok(())
    }

    fn namespace<'n>(&self, namespace: &'n str) -> Option<&'n str> {
        (!self.args.all_namespaces).then_some(namespace)
    }

    async fn objects(&self, resources: &[(String, Resources)], failures: &mut Vec<Failure>) -> Result<(), Failure> {
        let mut items = Vec::new();
        let mut asked_one = true;
        for (namespace, resources) in resources {
            for Asked { kind, names } in &resources.asked {
                for name in names {
                    match self.client().get(kind, namespace, name).await {
                        Ok(object) => items.push(object),
                        Err(error) => self.missed(error, (kind, namespace, name), failures).await?,
                    }
                }
                if names.is_empty() {
                    asked_one = false;
                    items.extend(self.client().items(kind, self.namespace(namespace), &self.query()).await?);
                }
            }
        }
        let names: usize = resources.iter().map(|(_, r)| r.names()).sum();
        let one = asked_one && names == 1;
        if one && items.is_empty() {
            return Ok(());
        }
        if let Some(sort_by) = &self.sort_by {
            sort(&mut items, |item| item, sort_by);
        }
        let nothing = items.is_empty();
        print(&(self.args.writer())(&self.output, items, one, !self.args.no_headers)?)?;
        if nothing && matches!(self.output, Output::Name) {
            self.nothing_found(resources).await;
        }
        Ok(())
    }

    fn style(&self, kind: KindRef, mixed: bool) -> Style {
        Style {
            wide: self.output == Output::Table { wide: true },
            headings: !self.args.no_headers,
            namespaces: self.args.all_namespaces && kind.namespaced,
            kinds: mixed || self.args.show_kind,
            labels: self.args.show_labels,
            label_columns: self.args.label_columns.clone(),
        }
    }

    /// The tables of one kind: of its list, or of each of its names.
    async fn kind_tables(
        &self,
        Asked { kind, names }: &Asked,
        namespace: &str,
        failures: &mut Vec<Failure>,
    ) -> Result<Vec<Value>, Failure> {
        let mut query = self.query();
        if self.sort_by.is_some() {
            query = query.with("includeObject", "Object");
        }
        let mut tables = Vec::new();
        for name in names {
            match self.client().get_path(&query.on(&path::object(kind, namespace, name)), As::Table).await {
                Ok(table) => tables.push(table),
                Err(error) => self.missed(error, (kind, namespace, name), failures).await?,
            }
        }
        if names.is_empty() {
            let path = query.on(&path::collection(kind, self.namespace(namespace)));
            tables.push(self.client().get_path(&path, As::Table).await?);
        }
        if let Some(sort_by) = &self.sort_by {
            for rows in tables.iter_mut().filter_map(|t| t.get_mut("rows")).filter_map(Value::as_array_mut) {
                sort(rows, |row| row.get("object").unwrap_or(&Value::Null), sort_by);
            }
        }
        Ok(tables)
    }

    async fn tables(&self, resources: &[(String, Resources)], failures: &mut Vec<Failure>) -> Result<(), Failure> {
        let mut something = false;
        for (namespace, resources) in resources {
            for asked in &resources.asked {
                let tables = self.kind_tables(asked, namespace, failures).await?;
                let mut printer = Printer::new(self.style(asked.kind, resources.mixed));
                let rows: Vec<&Value> = tables.iter().filter(|table| has_rows(table)).collect();
                if rows.is_empty() {
                    continue;
                }
                let text: String = rows.into_iter().map(|table| printer.print(table, asked.kind)).collect();
                print(&if something && !self.args.no_headers { format!("\n{text}") } else { text })?;
                something = true;
            }
        }
        if !something && failures.is_empty() && !self.args.ignore_not_found {
            self.nothing_found(resources).await;
        }
        Ok(())
    }

    async fn nothing_found(&self, resources: &[(String, Resources)]) {
        let namespaced = resources.iter().any(|(_, r)| r.asked.iter().any(|a| a.kind.namespaced));
        if self.args.all_namespaces || !namespaced {
            eprintln!("No resources found");
            return;
        }
        let namespace = resources.first().map_or(self.cx.namespace.as_str(), |(namespace, _)| namespace);
        eprintln!("No resources found in {namespace} namespace.");
        if let Some(hint) = hint::for_nothing_found(self.cx, namespace).await {
            eprintln!("hint: {hint}");
        }
    }

    /// The objects as they are, then each change as it comes, until the reader goes away.
    async fn watch(&self, resources: &[(String, Resources)]) -> Result<(), Failure> {
        let asked: Vec<(&str, &Asked)> =
            resources.iter().flat_map(|(n, r)| r.asked.iter().map(move |a| (n.as_str(), a))).collect();
        let (namespace, asked) = match asked.as_slice() {
            [(namespace, asked)] if asked.names.len() < 2 => (*namespace, *asked),
            _ => return Err(Failure::error("you may only specify a single resource type to watch")),
        };
        let accept = if self.output.is_table() { As::Table } else { As::Json };
        let mut query = self.query();
        if let Some(name) = asked.names.first() {
            // What is not there at all is an error, not an endless wait.
            if let Err(error) = self.client().get(asked.kind, namespace, name).await {
                let hints = hint::for_missing(self.cx, asked.kind, namespace, name).await;
                return Err(Failure::from(error).hints(hints));
            }
            query = query.named(name);
        }
        let mut printer = Printer::new(self.style(asked.kind, false));
        let scope = self.namespace(namespace);
        let list = self.client().get_path(&query.on(&path::collection(asked.kind, scope)), accept).await?;
        let mut version =
            list.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default().to_string();
        if !self.args.watch_only {
            match accept {
                As::Table if has_rows(&list) => {
                    print(&self.event_text("ADDED", printer.print(&list, asked.kind), true))?
                }
                As::Table => {}
                As::Json => {
                    for item in super::client::items_of(asked.kind, list) {
                        self.print_event("ADDED", item)?;
                    }
                }
            }
        }
        loop {
            let since = query.clone().with_some("resourceVersion", Some(&version));
            let mut events = self.client().watch(asked.kind, scope, &since, accept).await?;
            while let Some((event, object)) = events.event().await? {
                if let Some(newer) = newest_version(&object) {
                    version = newer;
                }
                match (event.as_str(), accept) {
                    ("BOOKMARK", _) => {}
                    (event, As::Table) => {
                        let headings = printer.is_new();
                        print(&self.event_text(event, printer.print(&object, asked.kind), headings))?;
                    }
                    (event, As::Json) => self.print_event(event, object)?,
                }
            }
        }
    }

    fn print_event(&self, event: &str, object: Value) -> Result<(), Failure> {
        let object = match self.args.output_watch_events {
            true => serde_json::json!({"object": object, "type": event}),
            false => object,
        };
        let separator = if matches!(self.output, Output::Yaml) { "---\n" } else { "" };
        let text = (self.args.writer())(&self.output, vec![object], true, false)?;
        print(&format!("{separator}{text}"))
    }

    fn event_text(&self, event: &str, text: String, headings: bool) -> String {
        if !self.args.output_watch_events {
            return text;
        }
        let headings = headings && !self.args.no_headers;
        let line =
            |(at, line): (usize, &str)| format!("{:<11}{line}\n", if at == 0 && headings { "EVENT" } else { event });
        text.lines().enumerate().map(line).collect()
    }
}

fn has_rows(table: &Value) -> bool {
    table.get("rows").and_then(Value::as_array).is_some_and(|rows| !rows.is_empty())
}

/// Of an object, or of the rows of a table.
fn newest_version(object: &Value) -> Option<String> {
    let of = |value: &Value, at: &str| value.pointer(at).and_then(Value::as_str).map(str::to_string);
    let rows = object.get("rows").and_then(Value::as_array);
    match rows.and_then(|rows| rows.last()) {
        Some(row) => of(row, "/object/metadata/resourceVersion"),
        None => of(object, "/metadata/resourceVersion"),
    }
}

/// Numbers before text; what has no such value comes first.
fn sort(items: &mut [Value], object: impl Fn(&Value) -> &Value, by: &Template) {
    items.sort_by_cached_key(|item| {
        let value = by.find(object(item)).ok().and_then(|found| found.first().map(|v| (*v).clone()));
        match value {
            None | Some(Value::Null) => (0, 0, String::new()),
            Some(Value::Number(number)) => {
                // Ordered as the bits of a float are once negative numbers are turned around.
                let bits = number.as_f64().unwrap_or(0.0).to_bits() as i64;
                (1, bits ^ (((bits >> 63) as u64) >> 1) as i64, String::new())
            }
            Some(other) => (2, 0, super::jsonpath::to_text(&other)),
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sorting_is_by_number_or_text() {
        let mut items = vec![json!({"n": 10}), json!({"n": 9}), json!({"n": -1}), json!({}), json!({"n": "a"})];
        sort(&mut items, |item| item, &Template::parse_relaxed(".n").unwrap());
        assert_eq!(items, [json!({}), json!({"n": -1}), json!({"n": 9}), json!({"n": 10}), json!({"n": "a"})]);
    }
}
