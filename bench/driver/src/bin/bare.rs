//! The limits that the agent is measured against: the same exchange over blocking sockets, with nothing around it.
//!
//! `bare ping HOST PORT CA_FILE USER PAUSE_MS COUNT` sends `PING` over TLS, the password in `BENCH_PASSWORD`;
//! `bare probe …` with the same arguments `PING`, `SET`, `GET` and `CLIENT LIST`.
//! `bare scrape HOST PORT PATH ENCODING PAUSE_MS COUNT` asks an HTTP endpoint, on one connection that is kept.
//! Each prints a line for each turn: its nanoseconds, and the bytes that were read, or with `probe` the nanoseconds of
//! CPU that the process has had so far (in the first and the last line alone, because asking takes some, too).

#![expect(
    clippy::disallowed_methods,
    reason = "blocking and in real time: what the agent's way is compared with"
)]

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
        ["scrape", host, port, path, encoding, pause, count] => {
            scrape(host, port.parse()?, path, encoding, &Pace::new(pause, count)?)
        }
        _ => Err("usage: bare ping|probe HOST PORT CA_FILE USER PAUSE_MS COUNT, or \
                  bare scrape HOST PORT PATH ENCODING PAUSE_MS COUNT"
            .into()),
    }
}

/// How often something is done, and how long the loop rests between.
struct Pace {
    pause: Duration,
    count: u32,
}

impl Pace {
    fn new(pause: &str, count: &str) -> Outcome<Self> {
        Ok(Self { pause: Duration::from_millis(pause.parse()?), count: count.parse()? })
    }

    /// Does `exchange` again and again, and prints how long it took and what it tells.
    /// `exchange` is told whether it is the first or the last.
    fn run(&self, mut exchange: impl FnMut(bool) -> Outcome<usize>) -> Outcome<()> {
        let mut lines = String::new();
        for turn in 0..self.count {
            sleep(self.pause);
            let started = Instant::now();
            let told = exchange(turn == 0 || turn + 1 == self.count)?;
            writeln!(lines, "{} {told}", started.elapsed().as_nanos())?;
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

/// Sends a command and reads its reply, a line or a bulk string; tells its length.
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

fn scrape(host: &str, port: u16, path: &str, encoding: &str, pace: &Pace) -> Outcome<()> {
    let stream = connect(host, port)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: {encoding}\r\n\r\n");
    let mut reader = BufReader::new(stream);
    let mut body = Vec::new();
    pace.run(|_| {
        reader.get_mut().write_all(request.as_bytes())?;
        read_response(&mut reader, &mut body)
    })
}

/// Reads a response into `body` and tells its length.
fn read_response(reader: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Outcome<usize> {
    body.clear();
    let header = read_header(reader)?;
    let value = |name: &str| header.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if !header.first().is_some_and(|line| line.starts_with("http/1.1 200")) {
        return Err(format!("not a good answer: {:?}", header.first()).into());
    }
    if let Some(length) = value("content-length:") {
        body.resize(length.parse()?, 0);
        reader.read_exact(body)?;
        return Ok(body.len());
    }
    // Chunks: each after its length in hexadecimal, the last one empty.
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

/// The lines of a header, in lower case.
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
        return Err("the other side closed the connection".into());
    }
    Ok(line)
}
