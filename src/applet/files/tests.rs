use http_body_util::BodyExt;

use super::*;

struct Site {
    files: Files,
    dir: PathBuf,
}

impl Site {
    /// A document root of its own, removed at the end of the test.
    fn new(name: &str, flavour: Flavour) -> Self {
        let dir = std::env::temp_dir().join(format!("nslab-files-{}-{name}", std::process::id()));
        std::fs::create_dir_all(dir.join("sub")).unwrap();
        Site { files: Files { root: dir.clone(), flavour, version: Some("1.25.3".into()) }, dir }
    }

    fn write(&self, name: &str, content: &[u8]) {
        std::fs::write(self.dir.join(name), content).unwrap();
    }

    fn get(&self, path: &str) -> (u16, Reply) {
        self.ask(Method::GET, path, None)
    }

    fn ask(&self, method: Method, path: &str, if_none_match: Option<&str>) -> (u16, Reply) {
        let if_none_match = if_none_match.map(str::to_string);
        let asked =
            Asked { method, path: path.into(), host: "web:30000".into(), if_none_match, if_modified_since: None };
        let reply = self.files.respond(&asked);
        (reply.status().as_u16(), reply)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn body(reply: Reply) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(reply.into_body().collect()).unwrap().to_bytes().to_vec()
}

fn header(reply: &Reply, name: &str) -> String {
    reply.headers().get(name).map_or(String::new(), |value| value.to_str().unwrap().to_string())
}

#[test]
fn mounted_files_are_served() {
    let site = Site::new("served", Flavour::Nginx);
    site.write("index.html", b"<p>mine</p>\n");
    let large: Vec<u8> = (0..200_000_u32).map(|n| n as u8).collect();
    site.write("sub/large.bin", &large);
    let (status, reply) = site.get("/");
    assert_eq!((status, header(&reply, "content-type").as_str()), (200, "text/html"));
    assert_eq!(header(&reply, "server"), "nginx/1.25.3");
    assert_eq!(body(reply), b"<p>mine</p>\n");
    let (status, reply) = site.get("/sub/%6carge.bin");
    assert_eq!((status, header(&reply, "content-type").as_str()), (200, "application/octet-stream"));
    assert!(body(reply) == large, "every byte in order, over more than one piece");
}

#[test]
fn what_is_not_there_gets_nginx_own_page() {
    let site = Site::new("missing", Flavour::Nginx);
    let (status, reply) = site.get("/none");
    assert_eq!(status, 404);
    let page = String::from_utf8(body(reply)).unwrap();
    assert_eq!(
        page,
        "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n\
         <hr><center>nginx/1.25.3</center>\r\n</body>\r\n</html>\r\n"
    );
    assert_eq!(site.get("/").0, 403, "an empty volume at the document root has no index");
    assert_eq!(site.ask(Method::POST, "/", None).0, 405);
}

#[test]
fn nothing_outside_the_document_root_is_served() {
    let site = Site::new("outside", Flavour::Nginx);
    for path in ["/../etc/passwd", "/sub/../../etc/passwd", "/%2e%2e/etc/passwd", "/..%2fetc/passwd", "/a%00b"] {
        assert_eq!(site.get(path).0, 400, "{path}");
    }
    site.write("page.txt", b"in");
    assert_eq!(site.get("/sub/../page.txt").0, 200);
    assert_eq!(site.get("//etc/passwd").0, 404, "a path is never absolute");
}

#[test]
fn a_directory_without_its_slash_is_redirected() {
    let site = Site::new("redirect", Flavour::Nginx);
    let (status, reply) = site.get("/sub");
    assert_eq!((status, header(&reply, "location").as_str()), (301, "http://web/sub/"));
    let (_, reply) = Site::new("redirect-httpd", Flavour::Httpd).get("/sub");
    assert_eq!(header(&reply, "location"), "http://web:30000/sub/");
}

#[test]
fn an_unchanged_file_is_not_sent_again() {
    let site = Site::new("unchanged", Flavour::Httpd);
    site.write("a.txt", b"text");
    let (_, first) = site.get("/a.txt");
    let etag = header(&first, "etag");
    let (status, again) = site.ask(Method::GET, "/a.txt", Some(&etag));
    assert_eq!(status, 304);
    assert!(body(again).is_empty());
    assert_eq!(site.ask(Method::GET, "/a.txt", Some("\"other\"")).0, 200);
}

#[test]
fn without_a_document_root_there_is_the_welcome_page() {
    for (flavour, expected) in [(Flavour::Nginx, "<h1>Welcome to nginx!</h1>"), (Flavour::Httpd, "<h1>It works!</h1>")]
    {
        let mut site = Site::new("welcome", flavour);
        site.files.root = site.dir.join("nothing");
        let (status, reply) = site.get("/");
        assert_eq!(status, 200);
        assert!(String::from_utf8(body(reply)).unwrap().contains(expected));
        assert_eq!(site.get("/other").0, 404);
    }
}

#[test]
fn only_tags_that_are_versions_are_presented_as_one() {
    let version = |tag: &str| version(&["--tag".to_string(), tag.to_string()]);
    assert_eq!(version("1.25.3-alpine").as_deref(), Some("1.25.3"));
    assert_eq!(version("1.10").as_deref(), Some("1.10"));
    for tag in ["latest", "alpine", "1", "stable-perl", ""] {
        assert_eq!(version(tag), None, "{tag}");
    }
}
