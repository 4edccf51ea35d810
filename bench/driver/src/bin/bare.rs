//! The baseline of the benchmarks: the same exchange in a loop over blocking sockets, without anything else.
//!
//! - `bare ping HOST PORT CA_FILE USER PAUSE_MS COUNT` sends `PING` over TLS, with the password in `BENCH_PASSWORD`.
//! - `bare probe …` with the same arguments sends `PING`, `SET`, `GET` and `CLIENT LIST`.
//! - `bare scrape HOST PORT PATH ACCEPT ENCODING PAUSE_MS COUNT` requests a page on one kept connection. Another content type
//!   than ACCEPT is an error.
//!
//! Each prints a line per exchange: its nanoseconds, and the number of bytes that were read. `probe` prints the CPU time of
//! the process in nanoseconds instead of the bytes, only in the first and the last line, because reading it costs CPU time.

#![expect(clippy::disallowed_methods, reason = "the baseline is blocking and runs in real time")]

use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["ping", host, port, ca_file, user, pause, count] => {
            let mut session = sign_in(host, port.parse()?, ca_file, user)?;
            Pace::new(pause, count)?.run(|_| command(&mut session, &["PING"]))
        }
        ["probe", host, port, ca_file, user, pause, count] => {
            let mut session = sign_in(host, port.parse()?, ca_file, user)?;
            Pace::new(pause, count)?.run(|ends| probe(&mut session, ends))
        }
        ["scrape", host, port, path, accept, encoding, pause, count] => {
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: {accept}\r\nAccept-Encoding: {encoding}\r\n\r\n"
            );
            scrape(host, port.parse()?, &request, accept, &Pace::new(pause, count)?)
        }
        _ => Err("usage: bare ping|probe HOST PORT CA_FILE USER PAUSE_MS COUNT, or \
                  bare scrape HOST PORT PATH ACCEPT ENCODING PAUSE_MS COUNT"
            .into()),
    }
}

/// The number of exchanges, and the pause before each.
struct Pace {
    pause: Duration,
    count: u32,
}

impl Pace {
    fn new(pause: &str, count: &str) -> Outcome<Self> {
        Ok(Self { pause: Duration::from_millis(pause.parse()?), count: count.parse()? })
    }

    /// Repeats `exchange`, and prints the duration and the result of each. The argument of `exchange` is whether it is
    /// the first or the last one.
    fn run(&self, mut exchange: impl FnMut(bool) -> Outcome<usize>) -> Outcome<()> {
        let mut lines = String::new();
        for turn in 0..self.count {
            sleep(self.pause);
            let started = Instant::now();
            let result = exchange(turn == 0 || turn + 1 == self.count)?;
            writeln!(lines, "{} {result}", started.elapsed().as_nanos())?;
        }
        std::io::stdout().write_all(lines.as_bytes())?;
        Ok(())
    }
}

fn connect(host: &str, port: u16) -> Outcome<TcpStream> {
    let stream = TcpStream::connect((host, port))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

type Session = BufReader<StreamOwned<ClientConnection, TcpStream>>;

fn sign_in(host: &str, port: u16, ca_file: &str, user: &str) -> Outcome<Session> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_file)?)?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), ServerName::try_from(host.to_owned())?)?;
    let mut session = BufReader::new(StreamOwned::new(client, connect(host, port)?));
    command(&mut session, &["AUTH", user, &std::env::var("BENCH_PASSWORD")?])?;
    Ok(session)
}

fn probe(session: &mut Session, with_cpu: bool) -> Outcome<usize> {
    command(session, &["PING"])?;
    command(session, &["SET", "cachepulse:bare", "0123456789abcdef0123456789abcdef", "PX", "30000"])?;
    command(session, &["GET", "cachepulse:bare"])?;
    command(session, &["CLIENT", "LIST"])?;
    if !with_cpu {
        return Ok(0);
    }
    let account = std::fs::read_to_string("/proc/self/schedstat")?;
    Ok(account.split(' ').next().unwrap_or_default().parse()?)
}

/// Sends a command and reads its reply, a line or a bulk string. Returns its length.
fn command(session: &mut Session, words: &[&str]) -> Outcome<usize> {
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.extend(["$", &word.len().to_string(), "\r\n", word, "\r\n"]);
    }
    session.get_mut().write_all(request.as_bytes())?;
    session.get_mut().flush()?;
    let line = read_line(session)?;
    if line.starts_with('-') {
        return Err(format!("{}: {line}", words[0]).into());
    }
    let Some(length) = line.strip_prefix('$') else { return Ok(line.len()) };
    let mut bulk = vec![0; length.trim().parse::<usize>()? + 2];
    session.read_exact(&mut bulk)?;
    Ok(line.len() + bulk.len())
}

fn scrape(host: &str, port: u16, request: &str, accept: &str, pace: &Pace) -> Outcome<()> {
    let mut reader = BufReader::new(connect(host, port)?);
    let mut body = Vec::new();
    pace.run(|_| {
        reader.get_mut().write_all(request.as_bytes())?;
        read_response(&mut reader, accept, &mut body)
    })
}

/// Reads a response of the type `accept` into `body` and returns its length.
fn read_response(reader: &mut BufReader<TcpStream>, accept: &str, body: &mut Vec<u8>) -> Outcome<usize> {
    body.clear();
    let header = read_header(reader)?;
    let value = |name: &str| header.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if !header.first().is_some_and(|line| line.starts_with("http/1.1 200")) {
        return Err(format!("unexpected response: {:?}", header.first()).into());
    }
    let media_type = |content_type: &str| content_type.split(';').next().map(str::to_owned);
    if value("content-type:").and_then(media_type) != media_type(accept) {
        return Err(format!("unexpected content type: {:?}", value("content-type:")).into());
    }
    if let Some(length) = value("content-length:") {
        body.resize(length.parse()?, 0);
        reader.read_exact(body)?;
        return Ok(body.len());
    }
    // Each chunk follows its length in hexadecimal; the last one is empty.
    loop {
        let length = usize::from_str_radix(read_line(reader)?.trim(), 16)?;
        let end = body.len() + length;
        body.resize(end, 0);
        reader.read_exact(&mut body[end - length..])?;
        read_line(reader)?;
        if length == 0 {
            return Ok(body.len());
        }
    }
}

/// Reads the lines of a header, in lower case.
fn read_header(reader: &mut BufReader<TcpStream>) -> Outcome<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.trim().is_empty() {
            return Ok(lines);
        }
        lines.push(line.to_lowercase());
    }
}

fn read_line(reader: &mut impl BufRead) -> Outcome<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err("the peer closed the connection".into());
    }
    Ok(line)
}
