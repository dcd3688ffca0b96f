//! `node` and `client`: commands on a node, and on the machine outside.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::path::{Query, escape};
use super::stream::{self, Wishes};
use super::{Context, Failure, hint, tty};
use crate::object::kind;

/// The nodes, and commands on them
#[derive(Debug, Args)]
pub struct NodeArgs {
    #[command(subcommand)]
    what: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Run a command on a node; a shell if none is given
    Exec(NodeExecArgs),
    /// List the nodes
    #[command(visible_alias = "ls")]
    List(ListArgs),
}

#[derive(Debug, Args)]
struct NodeExecArgs {
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    command: CommandArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// wide, yaml, json or name
    #[arg(short, long, default_value = "", hide_default_value = true)]
    output: String,
}

/// The machine on the LAN that is no node
#[derive(Debug, Args)]
pub struct ClientArgs {
    #[command(subcommand)]
    what: ClientCommand,
}

#[derive(Debug, Subcommand)]
enum ClientCommand {
    /// Run a command there; a shell if none is given
    Exec(CommandArgs),
}

#[derive(Debug, Args)]
struct CommandArgs {
    /// Hand on standard input; so when it is no terminal, or with -t
    #[arg(short = 'i', long)]
    stdin: bool,
    /// A terminal; so when this is one
    #[arg(short, long, overrides_with = "no_tty")]
    tty: bool,
    /// No terminal, though this is one
    #[arg(short = 'T', long)]
    no_tty: bool,
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The name under which the API knows the machine outside.
const CLIENT: &str = "client";

pub async fn node(args: NodeArgs, cx: &Context) -> Result<(), Failure> {
    match args.what {
        NodeCommand::Exec(args) => exec(&args.node, args.command, cx).await,
        NodeCommand::List(args) => super::get::list(cx, "nodes", &args.output).await,
    }
}

pub async fn client(args: ClientArgs, cx: &Context) -> Result<(), Failure> {
    let ClientCommand::Exec(command) = args.what;
    exec(CLIENT, command, cx).await
}

async fn exec(node: &str, args: CommandArgs, cx: &Context) -> Result<(), Failure> {
    let interactive = tty::is_interactive();
    let shell = args.command.is_empty();
    if shell && !interactive && !args.stdin && tty::stdin_is_terminal() {
        return Err(Failure::error(format!("no command for {node}")).hint("write it behind --: -- ip route"));
    }
    let tty = args.tty || (interactive && !args.no_tty);
    let wishes = Wishes::new(args.stdin || tty || !tty::stdin_is_terminal(), tty);
    let mut query = Query::new();
    for word in if shell { vec![OsString::from("sh")] } else { args.command } {
        let word = word.into_string().map_err(|word| Failure::error(format!("{} is not UTF-8", word.display())))?;
        query = query.with("command", word);
    }
    let path = format!("/apis/{}/v1alpha1/nodes/{}/exec", kind::LAB_GROUP, escape(node));
    match stream::open(&cx.client, &wishes.on(query).on(&path)).await {
        // The command's own words are enough: this is a shell's line, and no kubectl verb.
        Ok(open) => match open.join(wishes).await? {
            0 => Ok(()),
            code => Err(Failure::silent(code)),
        },
        Err(error) if error.is_not_found() => {
            Err(Failure::from(error).hints(hint::for_missing(cx, &kind::NODE, "", node).await))
        }
        Err(error) => Err(error.into()),
    }
}
