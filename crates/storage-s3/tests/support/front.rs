//! [`Front`]: what stands before a server: it keeps a list of the requests, and misbehaves at the one it is told to.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::{Request, Response, body::Frame, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use s3s::{S3, auth::SimpleAuth, service::S3Service, service::S3ServiceBuilder};
use std::sync::{Arc, Mutex};
use tokio::{net::TcpListener, sync::Notify, task::AbortHandle};

type AnyError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, AnyError>>;

/// What can go wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Refused with this status and code, the server asked nothing.
    Refused(u16, &'static str),
    /// The connection ends before the body is read.
    ResetBefore,
    /// The connection ends once the body is read; the server is asked nothing.
    ResetAfter,
    /// The server did it, and the connection ends instead of an answer.
    LostReply,
    /// The answer comes byte by byte.
    Drip,
    /// No answer ever comes, and the server is asked nothing.
    Stall,
    /// The server did it, and no answer ever comes.
    LateStall,
    /// The answer's body ends in its middle.
    CutBody,
    /// A bit of the request's body is another.
    FlippedByte,
    /// A bit of the answer's body is another.
    FlippedAnswer,
    /// The answer has another ETag than the object.
    WrongETag,
    /// A success whose body is an error; the server is asked nothing.
    ErrorIn200,
    /// The server did it, and answers in no words of S3.
    OtherWords,
}

pub struct Front {
    port: u16,
    service: S3Service,
    seen: Mutex<Vec<String>>,
    plan: Mutex<Plan>,
    stalled: Arc<Notify>,
    task: Mutex<Option<AbortHandle>>,
}

/// At which requests what goes wrong; they are counted from 0 since the plan was made.
#[derive(Default)]
struct Plan {
    at: usize,
    times: usize,
    fault: Option<Fault>,
    /// What happens to the request behind the last of those.
    then: Option<Fault>,
    passed: usize,
    struck: usize,
}

impl Front {
    /// Puts a front before `server`, on a port of its own.
    pub async fn start(server: impl S3) -> Arc<Self> {
        let mut builder = S3ServiceBuilder::new(server);
        builder.set_auth(SimpleAuth::from_single(super::KEY, super::SECRET));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a port");
        let front = Arc::new(Self {
            port: listener.local_addr().expect("it is bound").port(),
            service: builder.build(),
            seen: Mutex::default(),
            plan: Mutex::default(),
            stalled: Arc::default(),
            task: Mutex::default(),
        });
        let task = tokio::spawn(front.clone().serve(listener));
        *front.task.lock().unwrap() = Some(task.abort_handle());
        front
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn stalled(&self) -> Arc<Notify> {
        self.stalled.clone()
    }

    /// The requests since the last call, as `METHOD operation`.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    /// Lets `fault` happen to `times` requests from the `at`-th one, counted from now.
    pub fn plan(&self, at: usize, times: usize, fault: Fault) {
        *self.plan.lock().unwrap() = Plan { at, times, fault: Some(fault), ..Plan::default() };
    }

    /// The same for one request; and `then` happens to the next one.
    pub fn plan_two(&self, at: usize, fault: Fault, then: Fault) {
        *self.plan.lock().unwrap() = Plan { at, times: 1, fault: Some(fault), then: Some(then), ..Plan::default() };
    }

    /// Lets nothing happen any more; tells how often something did.
    pub fn calm(&self) -> usize {
        std::mem::take(&mut *self.plan.lock().unwrap()).struck
    }

    /// Answers nobody any more.
    pub fn stop(&self) {
        if let Some(task) = self.task.lock().unwrap().take() {
            task.abort();
        }
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        while let Ok((socket, _)) = listener.accept().await {
            // Else each small answer waits 40 ms for the acknowledgement of its head.
            socket.set_nodelay(true).expect("it is a TCP socket");
            let front = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| front.answer(request));
                let http = hyper::server::conn::http1::Builder::new();
                drop(http.serve_connection(TokioIo::new(socket), service).await);
            });
        }
    }

    fn due(&self, request: &Request<Incoming>) -> Option<Fault> {
        self.seen.lock().unwrap().push(named(request));
        let mut plan = self.plan.lock().unwrap();
        let fault = plan.fault?;
        let index = plan.passed;
        plan.passed += 1;
        let is_due = (plan.at..plan.at + plan.times).contains(&index);
        let fault = if is_due { Some(fault) } else { plan.then.filter(|_| index == plan.at + plan.times) };
        plan.struck += usize::from(fault.is_some());
        fault
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, AnyError> {
        let fault = self.due(&request);
        match fault {
            Some(Fault::ResetBefore) => return Err("reset".into()),
            Some(Fault::Stall) => {
                self.stalled.notify_waiters();
                return std::future::pending().await;
            }
            _ => {}
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        match fault {
            Some(Fault::Refused(status, code)) => return Ok(refusal(status, code)),
            Some(Fault::ErrorIn200) => return Ok(refusal(200, "InternalError")),
            Some(Fault::ResetAfter) => return Err("reset".into()),
            _ => {}
        }
        let body = if fault == Some(Fault::FlippedByte) { flipped(&body) } else { body };
        let answer =
            self.service.call(Request::from_parts(head, body.into())).await.map_err(|_| "the server failed")?;
        let (mut head, body) = answer.into_parts();
        let body = BodyExt::collect(body).await.map_err(|_| "the server broke off")?.to_bytes();
        match fault {
            Some(Fault::LostReply) => return Err("reset".into()),
            Some(Fault::LateStall) => {
                self.stalled.notify_waiters();
                return std::future::pending().await;
            }
            Some(Fault::WrongETag) if head.headers.contains_key("etag") => {
                head.headers.insert("etag", "\"another\"".parse()?);
            }
            _ => {}
        }
        let body = match fault {
            Some(Fault::FlippedAnswer) => flipped(&body),
            Some(Fault::OtherWords) => Bytes::from_static(b"<Done>as it was asked for</Done>"),
            _ => body,
        };
        let blocks: Vec<Result<Bytes, AnyError>> = match fault {
            Some(Fault::Drip) => body.chunks(7).map(|block| Ok(body.slice_ref(block))).collect(),
            Some(Fault::CutBody) if !body.is_empty() => vec![Ok(body.slice(..body.len() / 2)), Err("cut".into())],
            _ => body.chunks(64 << 10).map(|block| Ok(body.slice_ref(block))).collect(),
        };
        if !body.is_empty() {
            // The whole is known here, whatever the server did not know when it began.
            head.headers.remove("transfer-encoding");
            head.headers.remove("trailer");
            head.headers.insert("content-length", body.len().into());
        }
        let slowly = stream::iter(blocks).then(|block| async {
            tokio::task::yield_now().await;
            block.map(Frame::data)
        });
        Ok(Response::from_parts(head, StreamBody::new(slowly.boxed()).boxed_unsync()))
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A refusal as S3 words it, with the time; without a code, as any server words it.
fn refusal(status: u16, code: &str) -> Answer {
    let body = if code.is_empty() { "<html>sorry</html>".to_owned() } else { worded(code) };
    let body = http_body_util::Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    // Who finds the time wrong has another: an hour behind.
    let behind = std::time::Duration::from_secs(if code == "RequestTimeTooSkewed" { 3_600 } else { 0 });
    let date = httpdate::fmt_http_date(std::time::SystemTime::now() - behind);
    Response::builder().status(status).header("date", date).body(body).expect("status and header are right")
}

fn worded(code: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>as planned</Message></Error>"
    )
}

fn flipped(body: &Bytes) -> Bytes {
    let mut bytes = body.to_vec();
    if let Some(byte) = bytes.last_mut() {
        *byte ^= 1;
    }
    bytes.into()
}

/// A request by the operation that it is: `PUT object`, `POST uploads`, `GET list-type`.
fn named(request: &Request<Incoming>) -> String {
    let query = request.uri().query().unwrap_or_default();
    let words: Vec<&str> = query.split('&').filter_map(|pair| pair.split('=').next()).collect();
    let known = ["uploads", "partNumber", "uploadId", "list-type", "delete", "versioning", "versions", "tagging"];
    let is_bucket = request.uri().path().trim_matches('/').split('/').count() < 2;
    let kind = match known.iter().find(|word| words.contains(word)) {
        Some(&"partNumber") => "part",
        Some(&"uploadId") => "upload",
        Some(word) => word,
        None if is_bucket => "bucket",
        None if request.headers().contains_key("x-amz-copy-source") => "copy",
        None => "object",
    };
    format!("{} {kind}", request.method())
}
