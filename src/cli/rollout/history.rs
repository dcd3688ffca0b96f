//! `rollout history`.

use clap::Args;
use serde_json::Value;

use super::super::change::{CHANGE_CAUSE, annotate};
use super::super::output::{self, Output};
use super::super::{Context, Failure, describe, files, pods, print, scale, tabs};
use super::{has_rollouts, revisions};

/// List the revisions of a workload, with what caused them
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// TYPE NAME or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    resources: Vec<String>,
    #[command(flatten)]
    files: files::FileArgs,
    /// Show the pods' template of this revision
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, hide_default_value = true)]
    revision: i64,
    /// All with these labels
    #[arg(short = 'l', long)]
    selector: Option<String>,
    /// yaml, json, ...: print what keeps the revisions
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: String,
}

pub async fn run(args: HistoryArgs, cx: &Context) -> Result<(), Failure> {
    if args.resources.is_empty() && !args.files.is_given() {
        return Err(Failure::error("required resource not specified"));
    }
    if args.revision < 0 {
        return Err(Failure::error(format!("revision must be a positive integer: {}", args.revision)));
    }
    let output = Output::parse(&args.output)?;
    let selector = args.selector.as_deref();
    for (kind, _, name) in scale::named(&args.resources, &args.files, true, selector, "rollout history", cx).await? {
        if !has_rollouts(kind) {
            let message = format!("no history viewer has been implemented for \"{}\"", kind.kind);
            return Err(Failure::error(message));
        }
        let object = pods::get(cx, kind, &name).await?;
        let mut revisions = revisions::of(kind, &object, cx).await?;
        if args.revision > 0 {
            revisions.retain(|revision| revision.number == args.revision);
            if revisions.is_empty() {
                return Err(Failure::error("unable to find the specified revision"));
            }
        }
        if !output.is_table() {
            for revision in revisions {
                print(&output::objects(&output, vec![revision.kept_by], true, true)?)?;
            }
            continue;
        }
        let name = output::name_of(&object);
        if let (true, Some(revision)) = (args.revision > 0, revisions.first()) {
            let mut shown = serde_json::json!({"spec": {"template": revision.template}});
            if !revision.cause.is_empty()
                && let Some(template) = shown.pointer_mut("/spec/template")
            {
                annotate(template, CHANGE_CAUSE, &revision.cause);
            }
            let template = describe::template_text(&shown);
            print(&format!("{name} with revision #{}\n{template}\n", args.revision))?;
        } else {
            print(&format!("{name} \n{}\n", table(&revisions)))?;
        }
    }
    Ok(())
}

fn table(revisions: &[revisions::Revision]) -> String {
    if revisions.is_empty() {
        return "No rollout history found.".into();
    }
    let mut text = "REVISION\tCHANGE-CAUSE\n".to_string();
    for revision in revisions {
        let cause = if revision.cause.is_empty() { "<none>" } else { &revision.cause };
        text.push_str(&format!("{}\t{cause}\n", revision.number));
    }
    tabs::align(&text, 0, 2)
}

/// For `rollout undo --dry-run=client`.
pub fn shown(template: &Value) -> String {
    describe::template_text(&serde_json::json!({"spec": {"template": template}}))
}
