//! The images that the lab has, as data.

/// An image: what its name stands for on a machine that pulls nothing.
#[derive(Debug)]
pub struct Image {
    /// Names without tag, as `Reference::short_name` gives them. The first one is shown to users.
    pub names: &'static [&'static str],
    /// The tags that there are.
    pub tags: Tags,
    /// What the image's entrypoint script does with its arguments.
    pub entrypoint: Entrypoint,
    /// The image's default arguments.
    pub cmd: &'static [&'static str],
    /// Programs that are not taken from the rootfs but are a built-in server.
    pub applet: Option<BuiltIn>,
    /// The image's own variables, besides PATH.
    pub env: &'static [(&'static str, &'static str)],
    pub working_dir: &'static str,
    /// TCP ports that the image's server listens on.
    pub ports: &'static [u16],
    /// Programs that this machine must have, and the Debian package that brings each.
    pub needs: &'static [(&'static str, &'static str)],
}

/// A built-in server that stands in for an image's programs.
#[derive(Debug)]
pub struct BuiltIn {
    /// The applet's name.
    pub name: &'static str,
    /// The image's programs that it stands in for, by file name.
    pub programs: &'static [&'static str],
    pub arguments: Arguments,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Arguments {
    /// The applet takes the program's arguments.
    Passed,
    /// They say nothing that the applet could do otherwise.
    Dropped,
    /// Dropped, but the applet is told the image's tag, because the real server shows its version.
    Tag,
}

#[derive(Debug)]
pub enum Tags {
    Any,
    Only(&'static str),
    /// Tags that begin with a version must begin with this major one, followed by a minor one up to this; so that a
    /// slip like `nginx:1.161`, which the Kubernetes documents use to show a failed rollout, fails here too.
    Versions {
        major: u32,
        max_minor: u32,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub enum Entrypoint {
    /// None, or a script that just runs its arguments.
    Plain,
    /// A program, which takes all arguments.
    Program(&'static str),
    /// A script that runs its arguments, but passes them to this program when the first is an option.
    OptionsTo(&'static str),
    /// Likewise, also when the first is no program.
    UnknownTo(&'static str),
}

const fn image(names: &'static [&'static str], cmd: &'static [&'static str]) -> Image {
    Image {
        names,
        tags: Tags::Any,
        entrypoint: Entrypoint::Plain,
        cmd,
        applet: None,
        env: &[],
        working_dir: "/",
        ports: &[],
        needs: &[],
    }
}

impl Image {
    const fn applet(
        mut self,
        name: &'static str,
        programs: &'static [&'static str],
        arguments: Arguments,
        ports: &'static [u16],
    ) -> Self {
        self.applet = Some(BuiltIn { name, programs, arguments });
        self.ports = ports;
        self
    }

    const fn entrypoint(mut self, entrypoint: Entrypoint) -> Self {
        self.entrypoint = entrypoint;
        self
    }

    const fn tags(mut self, tags: Tags) -> Self {
        self.tags = tags;
        self
    }

    const fn working_dir(mut self, dir: &'static str) -> Self {
        self.working_dir = dir;
        self
    }

    const fn env(mut self, env: &'static [(&'static str, &'static str)]) -> Self {
        self.env = env;
        self
    }

    const fn server(mut self, ports: &'static [u16], needs: &'static [(&'static str, &'static str)]) -> Self {
        self.ports = ports;
        self.needs = needs;
        self
    }

    const fn needs(mut self, needs: &'static [(&'static str, &'static str)]) -> Self {
        self.needs = needs;
        self
    }
}

use Arguments::{Dropped, Passed, Tag};
use Entrypoint::{OptionsTo, Program, UnknownTo};

const NGINX: &[&str] = &["nginx", "-g", "daemon off;"];

/// Every image, servers of the courses first.
pub static IMAGES: &[Image] = &[
    image(&["nginx", "public.ecr.aws/nginx/nginx"], NGINX)
        .applet("nginx", &["nginx", "nginx-debug"], Tag, &[80])
        .tags(Tags::Versions { major: 1, max_minor: 60 }),
    image(&["httpd"], &["httpd-foreground"])
        .applet("httpd", &["httpd-foreground", "httpd"], Tag, &[80])
        .tags(Tags::Versions { major: 2, max_minor: 4 }),
    image(&["sysnet4admin/echo-hname", "sysnet4admin/chk-hn"], NGINX).applet(
        "echo-hname",
        &["nginx"],
        Dropped,
        &[80, 443],
    ),
    image(&["sysnet4admin/echo-ip", "sysnet4admin/chk-ip"], NGINX).applet("echo-ip", &["nginx"], Dropped, &[80, 443]),
    image(&["sysnet4admin/chk-info"], NGINX).applet("chk-info", &["nginx"], Dropped, &[80, 443]),
    image(&["sysnet4admin/audit-trail", "sysnet4admin/chk-log"], NGINX).applet(
        "audit-trail",
        &["nginx"],
        Dropped,
        &[80],
    ),
    image(&["alicek106/rr-test"], &["apache2ctl", "-DFOREGROUND"])
        .applet("rr-test", &["apache2ctl"], Dropped, &[80])
        .tags(Tags::Only("echo-hostname")),
    image(&["alicek106/ingress-annotation-test"], &["python", "-u", "app.py"]).applet(
        "ingress-annotation-test",
        &["python"],
        Dropped,
        &[5000],
    ),
    image(&["luksa/kubia"], &["node", "app.js"]).applet("kubia", &["node"], Dropped, &[8080]),
    image(&["ghcr.io/subicura/echo", "subicura/echo"], &["node", "app.js"]).applet(
        "subicura-echo",
        &["node"],
        Dropped,
        &[3000],
    ),
    image(&["registry.k8s.io/hpa-example", "k8s.gcr.io/hpa-example"], &["apache2-foreground"]).applet(
        "hpa-example",
        &["apache2-foreground"],
        Dropped,
        &[80],
    ),
    image(
        &[
            "registry.k8s.io/e2e-test-images/agnhost",
            "k8s.gcr.io/e2e-test-images/agnhost",
            "gcr.io/kubernetes-e2e-test-images/agnhost",
        ],
        &["pause"],
    )
    .entrypoint(Program("/agnhost"))
    .applet("agnhost", &["agnhost"], Passed, &[]),
    image(
        &[
            "registry.k8s.io/pause",
            "k8s.gcr.io/pause",
            "gcr.io/google_containers/pause",
            "gcr.io/google-containers/pause",
            "kubernetes/pause",
        ],
        &[],
    )
    .entrypoint(Program("/pause"))
    .applet("pause", &["pause"], Dropped, &[]),
    image(&["registry.k8s.io/coredns/coredns", "coredns/coredns", "k8s.gcr.io/coredns/coredns"], &[])
        .entrypoint(Program("/coredns"))
        .applet("dns", &["coredns"], Passed, &[53]),
    image(&["hello-world"], &["/hello"]).applet("hello-world", &["hello"], Dropped, &[]),
    // Shells with tools: the tools are this machine's.
    image(&["busybox", "registry.k8s.io/busybox", "k8s.gcr.io/busybox", "gcr.io/google-containers/busybox"], &["sh"]),
    image(&["alpine"], &["/bin/sh"]),
    image(&["ubuntu"], &["/bin/bash"]),
    image(&["debian"], &["bash"]),
    image(&["centos", "quay.io/centos/centos"], &["/bin/bash"]),
    image(&["curlimages/curl", "quay.io/curl/curl"], &["curl"])
        .entrypoint(UnknownTo("curl"))
        .needs(&[("curl", "curl")]),
    image(&["sysnet4admin/net-tools", "sysnet4admin/net-tools-ifn"], &["curl"])
        .entrypoint(UnknownTo("curl"))
        .needs(&[("curl", "curl")]),
    image(&["sysnet4admin/sleepy"], &["sleep", "infinity"]),
    image(&["jonum12312/curl", "radial/busyboxplus"], &["/bin/sh"]),
    image(&["alicek106/ubuntu", "tutum/dnsutils"], &["/bin/bash"]),
    // Databases: the real server, or none.
    image(&["redis"], &["redis-server"])
        .entrypoint(OptionsTo("redis-server"))
        .server(&[6379], &[("redis-server", "redis-server"), ("redis-cli", "redis-tools")])
        .working_dir("/data"),
    image(&["mysql"], &["mysqld"])
        .entrypoint(OptionsTo("mysqld"))
        .server(&[3306], &[("mysqld", "default-mysql-server"), ("mysql", "default-mysql-client")]),
    image(&["mariadb"], &["mariadbd"])
        .entrypoint(OptionsTo("mariadbd"))
        .server(&[3306], &[("mariadbd", "mariadb-server"), ("mariadb", "mariadb-client")]),
    image(&["postgres"], &["postgres"])
        .entrypoint(OptionsTo("postgres"))
        .env(&[("PGDATA", "/var/lib/postgresql/data")])
        .server(&[5432], &[("postgres", "postgresql"), ("psql", "postgresql-client")]),
    image(&["mongo"], &["mongod", "--bind_ip_all"])
        .entrypoint(OptionsTo("mongod"))
        .server(&[27017], &[("mongod", "mongodb-org-server"), ("mongosh", "mongodb-mongosh")]),
];
