//! kubectl's verbs that the lab does not have: why, and what to use instead.

use clap::{Args, Subcommand};

use super::{Failure, program};

/// Verbs that only say why they are not there.
#[derive(Debug, Subcommand)]
pub enum Unsupported {
    /// Not supported: there is no metrics API
    #[command(hide = true, disable_help_flag = true)]
    Top(AnyArgs),
    /// Not supported: the API has a socket of its own
    #[command(hide = true, disable_help_flag = true)]
    Proxy(AnyArgs),
    /// Not supported: there are no certificate signing requests
    #[command(hide = true, disable_help_flag = true)]
    Certificate(AnyArgs),
    /// Not supported: there are no ephemeral containers
    #[command(hide = true, disable_help_flag = true)]
    Debug(AnyArgs),
    /// Not supported: this program has no plugins
    #[command(hide = true, disable_help_flag = true)]
    Plugin(AnyArgs),
}

/// Whatever stands behind the verb.
#[derive(Debug, Args)]
pub struct AnyArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

pub fn run(verb: &Unsupported) -> Failure {
    let no = |verb: &str, why: &str| Failure::error(format!("{verb} is not supported by the lab: {why}"));
    match verb {
        Unsupported::Top(_) => no("top", "Metrics API not available (nothing serves metrics.k8s.io)")
            .hint("what runs on a node, with its CPU and memory: lab node exec NODE -- ps aux"),
        Unsupported::Proxy(_) => {
            no("proxy", "the lab's API is on a unix socket, and at port 6443 of the control plane")
                .hint(format!("one request: {} get --raw /api/v1/pods", program()))
                .hint("by curl: sudo curl --unix-socket /run/nslab/lab/api.sock http://lab/api/v1/pods")
                .hint("Kubernetes' own kubectl has proxy, and reaches the lab after: sudo lab kubeconfig --merge")
        }
        Unsupported::Certificate(_) => {
            no("certificate", "certificatesigningrequests are not served, and users are not told apart")
                .hint("the administrator's certificate: sudo lab kubeconfig")
                .hint(format!("a ServiceAccount's token: {} create token NAME", program()))
        }
        Unsupported::Debug(_) => no("debug", "there are no ephemeral containers")
            .hint(format!("a shell in a container: {} exec -it POD -- sh", program()))
            .hint("a shell on a node: lab node exec NODE")
            .hint(format!("a pod of its own: {} run -it --rm --restart=Never --image=busybox tmp -- sh", program())),
        Unsupported::Plugin(_) => no("plugin", "programs called kubectl-NAME are not looked for")
            .hint("call the program itself: kubectl-NAME, after: sudo lab kubeconfig --merge"),
    }
}
