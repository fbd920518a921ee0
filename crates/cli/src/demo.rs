//! `larder demo`: everything once, before one's eyes, on a server and files of its own in a temporary directory: upload, download, range,
//! search, a picture in other sizes, trash, a kill in the midst of an upload, and a database that is deleted and made again. What it says, it
//! has checked.

mod pictures;

use crate::{
    config,
    output::{Exit, Output, refuse, size},
};
use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use ureq::{Agent, http::Request};

/// How long any step may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Of the upload that a kill breaks off: so much is sent before the kill, and this much was announced.
const SENT: usize = 3 << 20;
const ANNOUNCED: usize = 64 << 20;

/// A file that the demo brings along.
struct Sample {
    name: &'static str,
    content_type: &'static str,
    content: fn() -> Vec<u8>,
}

const SAMPLES: &[Sample] = &[
    Sample {
        name: "2026/report.txt",
        content_type: "text/plain",
        content: || b"Larder keeps files. This one is small enough to be read whole.\n".repeat(40),
    },
    Sample {
        name: "2026/measured.csv",
        content_type: "text/csv",
        content: || (0..2_000).map(|row| format!("{row},{}\n", row * row)).collect::<String>().into(),
    },
    Sample { name: "pictures/dusk.jpg", content_type: "image/jpeg", content: pictures::landscape },
];

/// The pictures of the sheet.
const PICTURES: &[Sample] = &[
    Sample { name: "photograph.jpg", content_type: "image/jpeg", content: pictures::landscape },
    Sample { name: "drawing.svg", content_type: "image/svg+xml", content: pictures::drawing },
    Sample { name: "sticker.png", content_type: "image/png", content: pictures::sticker },
];

/// What is made of each.
const VARIANTS: [&str; 7] = [
    "w_300,h_300,f_jpeg",
    "w_300,h_300,f_webp",
    "w_300,h_300,f_avif",
    "w_240,h_240,fit_cover,g_smart,f_webp",
    "w_320,h_200,fit_contain,bg_222,f_webp",
    "crop_0.5:0.2:0.4:0.5,w_320,f_webp",
    "w_240,rot_90,blur_4,f_webp",
];

/// Show everything once, on files and a server of its own.
///
/// Takes some seconds and about 100 MB in a temporary directory, which is gone when it ends.
#[derive(Args)]
pub(crate) struct Demo {
    /// Keep the directory, and say where it is
    #[arg(long)]
    keep: bool,
    /// Write a page with pictures and what was made of them, to look at [without a path: larder-demo.html]
    #[arg(long, value_name = "PATH", num_args = 0..=1, default_missing_value = "larder-demo.html")]
    html: Option<PathBuf>,
}

impl Demo {
    pub(crate) fn run(self, output: &Output) -> Result<Exit> {
        if let Some(there) = self.html.as_ref().filter(|path| fs::symlink_metadata(path).is_ok()) {
            let what = format!("{} already exists", there.display());
            return Err(refuse(what, "name another page behind --html, or remove that one"));
        }
        let place = tempfile::Builder::new().prefix("larder-demo-").tempdir()?;
        let shown = Show { output, data: place.path().join("data"), steps: 0 }.run(self.html.as_deref());
        match self.keep {
            true => output.message(format_args!("everything is in {}", place.keep().display())),
            false => clear(place)?,
        }
        shown.map(|()| Exit::Done)
    }
}

fn clear(place: TempDir) -> Result<()> {
    let path = place.path().to_owned();
    place.close().with_context(|| format!("cannot clear {}", path.display()))
}

/// The demo as it goes.
struct Show<'a> {
    output: &'a Output,
    data: PathBuf,
    steps: u32,
}

impl Show<'_> {
    fn run(mut self, html: Option<&Path>) -> Result<()> {
        let began = Instant::now();
        let password = random_text()?;
        self.larder(&["user", "add", "ada", "--admin", "--password-stdin"], password.as_bytes())?;
        let server = Server::start(&self.data)?;
        self.step("a server on a new directory", &format!("larder serve --data {}", self.data.display()), began)?;

        let client = server.log_in("ada", &password)?;
        let files = self.upload(&client)?;
        self.download(&client, &files)?;
        self.search(&client)?;
        self.picture(&client, &files[2])?;
        if let Some(path) = html {
            self.sheet(&client, path)?;
        }
        self.trash(&client, &files[0])?;
        let client = self.kill(server, client, &files)?;
        self.rebuild(client, &files)?;
        self.output.message(
            "nothing was lost. `larder serve` begins a larder of your own; docs/tour.md shows the same by hand",
        );
        Ok(())
    }

    fn upload(&mut self, client: &Client) -> Result<Vec<Value>> {
        let began = Instant::now();
        let mut files = Vec::new();
        for Sample { name, content_type, content } in SAMPLES {
            let path = format!("/api/v1/buckets/documents/names/{name}");
            let reply = client.send("PUT", &path, &[("Content-Type", content_type)], Some(&content()))?;
            ensure!(reply.status == 201, "the upload was answered {}: {}", reply.status, reply.text());
            files.push(reply.json()?);
        }
        let line = format!(
            "curl -T report.txt -H \"Authorization: Bearer $TOKEN\" {}/api/v1/buckets/documents/names/2026/report.txt",
            client.base
        );
        self.step("three files, each durable before its answer", &line, began)?;
        Ok(files)
    }

    fn download(&mut self, client: &Client, files: &[Value]) -> Result<()> {
        let began = Instant::now();
        check_content(client, files)?;
        let path = format!("/api/v1/files/{}/content", text(&files[0], "id")?);
        let line = format!("curl -H \"Authorization: Bearer $TOKEN\" {}{path}", client.base);
        self.step("the same bytes back, by their SHA-256", &line, began)?;

        let began = Instant::now();
        let reply = client.send("GET", &path, &[("Range", "bytes=0-18")], None)?;
        ensure!(reply.status == 206 && reply.body == b"Larder keeps files.", "a range was answered {}", reply.status);
        let line = format!("curl -r 0-18 -H \"Authorization: Bearer $TOKEN\" {}{path}", client.base);
        self.step("a part of it: `Larder keeps files.`", &line, began)
    }

    fn search(&mut self, client: &Client) -> Result<()> {
        let began = Instant::now();
        let found = client.get("/api/v1/files?q=REPORT&sort=name")?.json()?;
        let names: Vec<_> = found["items"].as_array().into_iter().flatten().map(|file| &file["name"]).collect();
        ensure!(names == ["2026/report.txt"], "the search found {names:?}");
        let line = format!("curl -H \"Authorization: Bearer $TOKEN\" '{}/api/v1/files?q=REPORT'", client.base);
        self.step("found by a part of its name", &line, began)
    }

    /// A preset of a picture, and a recipe by a URL that needs no token.
    fn picture(&mut self, client: &Client, file: &Value) -> Result<()> {
        let began = Instant::now();
        let (id, media) = (text(file, "id")?, &file["media"]);
        ensure!(media["width"] == 1600 && media["thumbhash"].is_string(), "the picture's record says {media}");
        let path = text(&file["renditions"], "thumb")?;
        let thumb = client.send("GET", path, &[("Accept", "image/webp")], None)?;
        let shown = larder_media::probe(&thumb.body).with_context(|| format!("the preset: {}", thumb.text()))?.shown();
        ensure!(thumb.status == 200 && shown.width == 300, "the preset was answered {}", thumb.status);
        let line = format!("curl -H \"Authorization: Bearer $TOKEN\" -H 'Accept: image/webp' {}{path}", client.base);
        let what = format!(
            "a picture of {} as one of {}, WebP of 300 pixels",
            size(file["size"].as_u64().unwrap_or(0)),
            size(thumb.body.len() as u64)
        );
        self.step(&what, &line, began)?;

        let began = Instant::now();
        let square = client.sign(id, "w_200,h_200,fit_cover,g_smart,f_jpeg")?;
        let shown = client.nobody().get(&square)?;
        ensure!(
            shown.status == 200 && larder_media::probe(&shown.body)?.shown().width == 200,
            "the signed URL does not work"
        );
        let forged = client.nobody().get(&square.replace("w_200", "w_201"))?;
        ensure!(forged.status == 403, "a recipe that nobody signed was answered {}", forged.status);
        self.step(
            "any other recipe by a signed URL, for everybody; a changed one is refused",
            &format!("curl {}{square}", client.base),
            began,
        )
    }

    /// What becomes of three kinds of pictures, on a page.
    fn sheet(&mut self, client: &Client, path: &Path) -> Result<()> {
        let began = Instant::now();
        let mut shown = vec![];
        for Sample { name, content, .. } in PICTURES {
            let content = content();
            let begun = Instant::now();
            let reply =
                client.send("POST", &format!("/api/v1/buckets/images/files?name={name}"), &[], Some(&content))?;
            ensure!(reply.status == 201, "the upload was answered {}: {}", reply.status, reply.text());
            let (record, took) = (reply.json()?, begun.elapsed());
            let (content_type, id) = (text(&record, "content_type")?.to_owned(), text(&record, "id")?);
            shown.push(pictures::Shown {
                of: (*name).into(),
                by: "the upload".into(),
                content_type,
                bytes: content,
                took,
            });
            for recipe in VARIANTS {
                let (url, begun) = (client.sign(id, recipe)?, Instant::now());
                let reply = client.nobody().get(&url)?;
                ensure!(reply.status == 200, "`{recipe}` was answered {}: {}", reply.status, reply.text());
                let content_type = larder_media::probe(&reply.body)?.format.content_type().to_owned();
                let (by, took) = (recipe.to_owned(), begun.elapsed());
                shown.push(pictures::Shown { of: (*name).into(), by, content_type, bytes: reply.body, took });
            }
            // What is shown next counts the files that were there before.
            ensure!(
                client.send("DELETE", &format!("/api/v1/files/{id}?purge=true"), &[], None)?.status == 204,
                "it stays"
            );
        }
        fs::write(path, pictures::sheet(&shown)?).with_context(|| format!("cannot write {}", path.display()))?;
        self.step(&format!("{} pictures on a page to look at", shown.len()), &path.display().to_string(), began)
    }

    fn trash(&mut self, client: &Client, file: &Value) -> Result<()> {
        let began = Instant::now();
        let path = format!("/api/v1/files/{}", text(file, "id")?);
        ensure!(client.send("DELETE", &path, &[], None)?.status == 204, "it does not go to the trash");
        ensure!(client.get(&format!("{path}/content"))?.status == 404, "what lies in the trash is still served");
        ensure!(client.send("POST", &format!("{path}/restore"), &[], None)?.status == 200, "it does not come back");
        let line = format!("curl -X DELETE … {}{path} ; curl -X POST … {}{path}/restore", client.base, client.base);
        self.step("to the trash and back", &line, began)
    }

    /// Kills the server while an upload is under way.
    fn kill(&mut self, server: Server, client: Client, files: &[Value]) -> Result<Client> {
        let began = Instant::now();
        let upload = client.begin_upload()?;
        server.kill()?;
        drop(upload);
        let server = Server::start(&self.data)?;
        let client = Client { base: format!("http://{}", server.address), ..client };
        check_content(&client, files)?;
        let all = client.get("/api/v1/files")?.json()?;
        let count = all["items"].as_array().map_or(0, Vec::len);
        ensure!(count == files.len(), "there are {count} files after the kill, of {}", files.len());
        self.step(
            "kill -9 in the midst of an upload: every answered file is whole, of the other nothing is left",
            "",
            began,
        )?;
        server.stop()?;
        Ok(client)
    }

    /// Deletes the database.
    fn rebuild(&mut self, client: Client, files: &[Value]) -> Result<()> {
        let began = Instant::now();
        let before = self.larder(&["dump"], b"")?;
        fs::remove_dir_all(self.data.join("db"))?;
        self.larder(&["rebuild"], b"")?;
        ensure!(self.larder(&["dump"], b"")? == before, "what came back differs from what was there");
        let findings = self.larder(&["fsck", "--verify"], b"")?;
        ensure!(findings.is_empty(), "fsck finds {findings}");
        let server = Server::start(&self.data)?;
        drop(client);
        let store = self.data.join("objects");
        let lies = find(&store, &content_of(SAMPLES[0].name)?)?;
        ensure!(files.len() == SAMPLES.len() && lies.is_some(), "the files can't be read by plain tools");
        server.stop()?;
        let line = format!("rm -r {}/db ; larder rebuild ; larder fsck --verify", self.data.display());
        self.step("the database deleted, and made again from the files alone: equal in every row", &line, began)?;
        let line = format!("cat {}", lies.unwrap_or_default().display());
        self.step("and without Larder: a plain file with its attributes beside it", &line, Instant::now())
    }

    /// Says that a step was done, and how one does it.
    fn step(&mut self, what: &str, how: &str, began: Instant) -> Result<()> {
        self.steps += 1;
        let took = began.elapsed();
        if self.output.json {
            let record =
                json!({"step": self.steps, "did": what, "how": how, "took_ms": u64::try_from(took.as_millis())?});
            self.output.record(&record)?;
        } else {
            self.output.line(format_args!("{}. {what} ({:.1} s)", self.steps, took.as_secs_f64()))?;
            if !how.is_empty() {
                self.output.line(format_args!("     {how}"))?;
            }
        }
        Ok(self.output.flush()?)
    }

    /// A command of this binary; answers what it printed.
    fn larder(&self, arguments: &[&str], input: &[u8]) -> Result<String> {
        let mut child = larder(&self.data)?.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        child.stdin.take().context("it has an input")?.write_all(input)?;
        let said = child.wait_with_output()?;
        if !said.status.success() {
            bail!("`larder {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&said.stderr));
        }
        Ok(String::from_utf8(said.stdout)?)
    }
}

/// This binary on the demo's directory, and nothing that this environment says of another.
fn larder(data: &Path) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    for (name, _) in env::vars_os().filter(|(name, _)| config::is_a_variable(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command.args(["--quiet", "--data"]).arg(data).stderr(Stdio::piped());
    Ok(command)
}

fn random_text() -> Result<String> {
    let mut random = [0; 18];
    getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    Ok(data_encoding::BASE64URL_NOPAD.encode(&random))
}

fn text<'a>(record: &'a Value, field: &str) -> Result<&'a str> {
    record[field].as_str().with_context(|| format!("the answer has no `{field}`: {record}"))
}

fn content_of(name: &str) -> Result<Vec<u8>> {
    let sample = SAMPLES.iter().find(|sample| sample.name == name);
    Ok((sample.with_context(|| format!("there is no sample `{name}`"))?.content)())
}

/// That each file has the bytes and the hash that it was made of.
fn check_content(client: &Client, files: &[Value]) -> Result<()> {
    for file in files {
        let (id, name) = (text(file, "id")?, text(file, "name")?);
        let reply = client.get(&format!("/api/v1/files/{id}/content"))?;
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&reply.body));
        let is_right = reply.status == 200 && reply.body == content_of(name)? && hash == text(file, "sha256")?;
        ensure!(is_right, "`{name}` came back wrong ({})", reply.status);
    }
    Ok(())
}

/// Where a plain file with this content lies below a directory.
fn find(folder: &Path, content: &[u8]) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = match path.is_dir() {
            true => find(&path, content)?,
            false => (fs::read(&path)? == content).then_some(path),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// A server of this binary, which ends when this is dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(data: &Path) -> Result<Self> {
        let child = larder(data)?.args(["serve", "--listen", "127.0.0.1:0"]).stdin(Stdio::null()).spawn()?;
        let mut server = Self { child, address: String::new() };
        let lines = BufReader::new(server.child.stderr.take().context("it has an output")?);
        let (told, hears) = std::sync::mpsc::channel();
        // Read to its end, so that the server never waits for somebody to read what it says.
        thread::spawn(move || lines.lines().map_while(Result::ok).for_each(|line| drop(told.send(line))));
        let mut said = Vec::new();
        while let Ok(line) = hears.recv_timeout(PATIENCE) {
            if let Some(address) = line.strip_prefix("listening on http://") {
                server.address = address.to_owned();
                return Ok(server);
            }
            said.push(line);
        }
        bail!("the server does not start: {}", said.join("\n"))
    }

    fn log_in(&self, user: &str, password: &str) -> Result<Client> {
        let agent = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).proxy(None);
        let nobody =
            Client { agent: agent.build().into(), base: format!("http://{}", self.address), token: String::new() };
        let body = json!({"username": user, "password": password}).to_string();
        let headers = [("Content-Type", "application/json")];
        let reply = nobody.send("POST", "/api/v1/auth/login", &headers, Some(body.as_bytes()))?;
        let token = text(&reply.json()?, "access_token")?.to_owned();
        Ok(Client { token, ..nobody })
    }

    /// As `kill -9` does.
    fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let ended = self.child.wait()?;
        ensure!(ended.success(), "the server ended with {ended}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended already is none.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

struct Client {
    agent: Agent,
    base: String,
    token: String,
}

struct Reply {
    status: u16,
    body: Vec<u8>,
}

impl Reply {
    fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("no JSON was answered: {} {}", self.status, self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// Somebody without a token.
    fn nobody(&self) -> Self {
        Self { agent: self.agent.clone(), base: self.base.clone(), token: String::new() }
    }

    /// The path of a URL by which everybody sees a rendition.
    fn sign(&self, id: &str, recipe: &str) -> Result<String> {
        let body = json!({ "recipe": recipe }).to_string();
        let headers = [("Content-Type", "application/json")];
        let reply = self.send("POST", &format!("/api/v1/files/{id}/renditions"), &headers, Some(body.as_bytes()))?;
        let signed = reply.json()?;
        let url = text(&signed, "url")?;
        url.strip_prefix(&self.base).map(ToOwned::to_owned).with_context(|| format!("`{url}` leads elsewhere"))
    }

    fn get(&self, path: &str) -> Result<Reply> {
        self.send("GET", path, &[], None)
    }

    fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<&[u8]>) -> Result<Reply> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if !self.token.is_empty() {
            request = request.header("Authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = match body {
            Some(body) => self.agent.run(request.body(body)?)?,
            None => self.agent.run(request.body(())?)?,
        };
        let (head, body) = answer.into_parts();
        let mut bytes = Vec::new();
        body.into_reader().read_to_end(&mut bytes)?;
        Ok(Reply { status: head.status.as_u16(), body: bytes })
    }

    /// An upload whose end never comes. By hand, as a client would have to lie about its length.
    fn begin_upload(&self) -> Result<TcpStream> {
        let host = self.base.trim_start_matches("http://");
        let mut connection = TcpStream::connect(host)?;
        write!(
            connection,
            "PUT /api/v1/buckets/documents/names/half.bin HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/octet-stream\r\nContent-Length: {ANNOUNCED}\r\n\r\n",
            self.token
        )?;
        connection.write_all(&vec![0x55; SENT])?;
        connection.flush()?;
        Ok(connection)
    }
}
