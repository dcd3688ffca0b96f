//! The command line: `lab` with all its commands, and the same program under the name `kubectl` or `k` with kubectl's
//! verbs alone. Every verb is a client of the lab's Kubernetes-shaped API and of nothing else.

mod about;
mod api_status;
mod apply;
mod auth;
mod autoscale;
mod change;
pub mod client;
mod config;
mod cp;
mod create;
pub mod custom;
mod delete;
mod describe;
mod diff;
pub mod doctor;
pub mod down;
mod drain;
mod duration;
mod edit;
mod events;
mod exec;
mod explain;
mod expose;
mod failure;
mod files;
mod flags;
mod get;
mod gone;
mod hint;
mod kubeconfig;
mod kustomize;
mod label;
mod labs;
mod logs;
mod meta;
mod node;
pub mod output;
mod patch;
pub mod path;
pub mod plan;
mod pods;
mod port_forward;
mod ports;
mod replace;
mod resource;
mod rollout;
mod run;
mod scale;
mod service;
mod set;
pub mod status;
mod stream;
mod table;
mod tabs;
mod target;
mod tty;
mod unsupported;
pub mod up;
mod wait;
mod yaml_out;

use crate::object::jsonpath;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;

use clap::{Args, FromArgMatches as _, Parser, Subcommand};

pub use client::Client;
pub use failure::Failure;

/// Kubernetes networking and storage on this machine, made of namespaces and nftables
#[derive(Debug, Parser)]
#[command(name = "lab", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Lab {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: LabCommand,
}

/// kubectl's verbs, for a lab on this machine
#[derive(Debug, Parser)]
#[command(name = "kubectl", version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Kubectl {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Box<Verb>,
}

#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The namespace that the objects are in
    #[arg(short, long, global = true, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Where the API listens, when that is not the lab's own place
    #[arg(long, global = true, hide = true, env = "LAB_API_SOCKET", value_name = "PATH")]
    pub api_socket: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum LabCommand {
    #[command(flatten)]
    Machine(MachineCommand),
    #[command(flatten)]
    Verb(Box<Verb>),
    Service(service::ServiceArgs),
    Node(node::NodeArgs),
    Client(node::ClientArgs),
    Kubeconfig(kubeconfig::KubeconfigArgs),
    Completion(meta::CompletionArgs),
    Man(meta::ManArgs),
    Schema(meta::SchemaArgs),
}

/// What starts, stops and examines labs. These need more than the API: `main` has them carried out.
#[derive(Debug, Subcommand)]
pub enum MachineCommand {
    Up(up::UpArgs),
    Down(down::DownArgs),
    Plan(plan::PlanArgs),
    Status(status::StatusArgs),
    Doctor(doctor::DoctorArgs),
}

/// What kubectl can do too.
#[derive(Debug, Subcommand)]
pub enum Verb {
    Get(get::GetArgs),
    Describe(describe::DescribeArgs),
    Explain(explain::ExplainArgs),
    Create(create::CreateArgs),
    Apply(apply::ApplyArgs),
    Delete(delete::DeleteArgs),
    Scale(scale::ScaleArgs),
    Expose(expose::ExposeArgs),
    Run(run::RunArgs),
    Exec(exec::ExecArgs),
    Attach(exec::AttachArgs),
    PortForward(port_forward::PortForwardArgs),
    Cp(cp::CpArgs),
    #[command(alias = "log")]
    Logs(logs::LogsArgs),
    Label(label::LabelArgs),
    Annotate(label::AnnotateArgs),
    Rollout(rollout::RolloutArgs),
    Set(set::SetArgs),
    Edit(edit::EditArgs),
    Patch(patch::PatchArgs),
    Replace(replace::ReplaceArgs),
    Diff(diff::DiffArgs),
    Cordon(drain::CordonArgs),
    Uncordon(drain::UncordonArgs),
    Drain(drain::DrainArgs),
    Taint(drain::taint::TaintArgs),
    Wait(wait::WaitArgs),
    Version(about::VersionArgs),
    ApiResources(about::ApiResourcesArgs),
    ApiVersions(about::ApiVersionsArgs),
    ClusterInfo(about::ClusterInfoArgs),
    Autoscale(autoscale::AutoscaleArgs),
    Auth(auth::AuthArgs),
    Config(config::ConfigArgs),
    Events(events::EventsArgs),
    Kustomize(kustomize::KustomizeArgs),
    #[command(flatten)]
    Unsupported(unsupported::Unsupported),
}

/// What every verb needs to know.
#[derive(Debug, Clone)]
pub struct Context {
    pub client: Client,
    pub namespace: String,
    /// `-n` was given, so that a file that says another namespace is wrong.
    pub namespace_given: bool,
}

/// The command line as it was understood.
#[derive(Debug)]
pub enum Parsed {
    /// A command of `lab`, and the lab's name if one was given.
    Lab(Lab, Option<String>),
    Kubectl(Kubectl),
}

static PROGRAM: OnceLock<String> = OnceLock::new();

/// What this program is called, for messages that show a command.
pub fn program() -> &'static str {
    PROGRAM.get().map_or("lab", String::as_str)
}

pub fn runs_as_kubectl() -> bool {
    is_kubectl(program())
}

fn is_kubectl(name: &str) -> bool {
    name == "k" || name == "kubectl" || name.starts_with("kubectl-") || name.starts_with("kubectl.")
}

/// Reads the command line. `Err` has been told to the user already and is the exit code: 0 after `--help`.
pub fn parse(argv: Vec<OsString>) -> Result<Parsed, u8> {
    let called = argv.first().map(PathBuf::from);
    let name = called.as_deref().and_then(|p| p.file_name()).and_then(|n| n.to_str()).unwrap_or("lab");
    let kubectl = is_kubectl(name);
    let name = PROGRAM.get_or_init(|| if kubectl { name.to_string() } else { "lab".to_string() });
    let command = if kubectl { flags::kubectl_command(name) } else { flags::lab_command() };
    let matches = flags::matches(command, argv)?;
    let parsed = if kubectl {
        Kubectl::from_arg_matches(&matches).map(Parsed::Kubectl)
    } else {
        Lab::from_arg_matches(&matches).map(|lab| Parsed::Lab(lab, flags::lab_name(&matches)))
    };
    parsed.map_err(|error| flags::tell(&error, &flags::lab_command(), &[]))
}

/// What a command needs to know about the lab it is for.
pub fn context(global: &Global, lab: Option<&str>) -> Context {
    let lab = lab.map(str::to_string).or_else(|| std::env::var("LAB_NAME").ok());
    let client = labs::client(lab.as_deref(), global.api_socket.as_deref());
    let namespace = global.namespace.clone().or_else(|| config::namespace_of(client.lab()));
    Context {
        client,
        namespace: namespace.unwrap_or_else(|| "default".into()),
        namespace_given: global.namespace.is_some(),
    }
}

/// Does what the command line says and tells the user what came of it; the exit code. `machine` carries out what is no
/// client of the API, for the lab of that name.
pub fn run(parsed: Parsed, machine: impl FnOnce(MachineCommand, Option<&str>) -> u8) -> u8 {
    match parsed {
        Parsed::Kubectl(kubectl) => {
            let cx = context(&kubectl.global, None);
            finish(block_on(dispatch(*kubectl.verb, &cx)))
        }
        Parsed::Lab(lab, name) => {
            let cx = context(&lab.global, name.as_deref());
            finish(match lab.command {
                LabCommand::Machine(command) => {
                    let named = name.or_else(|| std::env::var("LAB_NAME").ok());
                    return machine(command, named.as_deref());
                }
                LabCommand::Verb(verb) => block_on(dispatch(*verb, &cx)),
                LabCommand::Service(args) => block_on(service::run(args, &cx)),
                LabCommand::Node(args) => block_on(node::node(args, &cx)),
                LabCommand::Client(args) => block_on(node::client(args, &cx)),
                LabCommand::Kubeconfig(args) => block_on(kubeconfig::run(&args, &cx)),
                LabCommand::Completion(args) => meta::completion(&args),
                LabCommand::Man(args) => meta::man(&args),
                LabCommand::Schema(_) => meta::schema(),
            })
        }
    }
}

async fn dispatch(verb: Verb, cx: &Context) -> Result<(), Failure> {
    custom::of(&cx.client);
    match verb {
        Verb::Get(args) => get::run(args, cx).await,
        Verb::Describe(args) => describe::run(args, cx).await,
        Verb::Explain(args) => explain::run(args, cx).await,
        Verb::Create(args) => create::run(args, cx).await,
        Verb::Apply(args) => apply::run(args, cx).await,
        Verb::Delete(args) => delete::run(args, cx).await,
        Verb::Scale(args) => scale::run(args, cx).await,
        Verb::Expose(args) => expose::run(args, cx).await,
        Verb::Run(args) => run::run(args, cx).await,
        Verb::Exec(args) => exec::run(args, cx).await,
        Verb::Attach(args) => exec::attach(args, cx).await,
        Verb::PortForward(args) => port_forward::run(args, cx).await,
        Verb::Cp(args) => cp::run(args, cx).await,
        Verb::Logs(args) => logs::run(args, cx).await,
        Verb::Label(args) => label::label(args, cx).await,
        Verb::Annotate(args) => label::annotate(args, cx).await,
        Verb::Rollout(args) => rollout::run(args, cx).await,
        Verb::Set(args) => set::run(args, cx).await,
        Verb::Edit(args) => edit::run(args, cx).await,
        Verb::Patch(args) => patch::run(args, cx).await,
        Verb::Replace(args) => replace::run(args, cx).await,
        Verb::Diff(args) => diff::run(args, cx).await,
        Verb::Cordon(args) => drain::cordon(args, cx).await,
        Verb::Uncordon(args) => drain::uncordon(args, cx).await,
        Verb::Drain(args) => drain::drain(args, cx).await,
        Verb::Taint(args) => drain::taint::run(args, cx).await,
        Verb::Wait(args) => wait::run(args, cx).await,
        Verb::Version(args) => about::version(args, cx).await,
        Verb::ApiResources(args) => about::api_resources(&args),
        Verb::ApiVersions(_) => about::api_versions(cx).await,
        Verb::Autoscale(args) => autoscale::run(args, cx).await,
        Verb::Auth(args) => auth::run(args, cx).await,
        Verb::Config(args) => config::run(args, cx),
        Verb::Events(args) => events::run(args, cx).await,
        Verb::Kustomize(args) => kustomize::run(&args),
        Verb::Unsupported(verb) => Err(unsupported::run(&verb)),
        Verb::ClusterInfo(_) => about::cluster_info(cx).await,
    }
}

fn block_on<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::error(format!("cannot start: {e}")))?;
    let result = runtime.block_on(future);
    // A thread may still wait for input that nobody will type.
    runtime.shutdown_background();
    result
}

/// Tells a failure on standard error.
pub fn finish(result: Result<(), Failure>) -> u8 {
    match result {
        Ok(()) => 0,
        Err(failure) => {
            let text = failure.to_string();
            if !text.is_empty() {
                eprintln!("{text}");
            }
            failure.code
        }
    }
}

/// Writes to standard output at once; an error ends the verb.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// What stands behind a sentence about something that was not really done.
const DRY_CLIENT: &str = " (dry run)";
const DRY_SERVER: &str = " (server dry run)";

/// Reads `--dry-run`.
fn dry_run(value: Option<&str>) -> Result<Option<&'static str>, Failure> {
    match value {
        None | Some("none" | "false") => Ok(None),
        Some("client" | "true") => Ok(Some(DRY_CLIENT)),
        Some("server") => Ok(Some(DRY_SERVER)),
        Some(other) => {
            let reason = "Must be \"none\", \"server\", or \"client\".";
            Err(Failure::error(format!("Invalid dry-run value ({other}). {reason}")))
        }
    }
}

/// kubectl's words for a verb that was told no object.
fn nothing_given() -> Failure {
    Failure::error(
        "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   \
         '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'",
    )
}
