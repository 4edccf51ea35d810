//! The text of a scrape, written while it is read: the text of a thousand targets is over 20 MB, and only the part that
//! is being sent is in memory.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use prometheus::proto::MetricFamily;
use prometheus::{Encoder as _, TextEncoder};

use super::cluster::ClusterSeries;
use super::definition::{self, Definition};
use super::identity::IdentitySeries;
use super::owners::{Series, Snapshot, Write};
use super::shard::ShardSeries;
use super::target::TargetSeries;
use super::text::Family;
use super::value::Histogram;

/// How many bytes are written ahead of the reader, or slightly more.
const AHEAD: usize = 32 * 1024;

/// Every metric in Prometheus' text format, version 0.0.4, families in the order of their names. Reading it never
/// fails.
///
/// The owners are fixed at the start; each value is read when it is written.
#[derive(Debug)]
pub struct Exposition {
    owners: Snapshots,
    scheduler_delay: Arc<Histogram>,
    /// The families still to be written, the last one first.
    sources: Vec<Source>,
    /// The progress within the last of the sources: how many owners have been written, and whether any had a series.
    next: usize,
    begun: bool,
    /// The text written so far, and how many bytes of it have been read.
    text: Vec<u8>,
    read: usize,
}

/// The owners of each kind.
#[derive(Debug)]
pub(super) struct Snapshots {
    pub(super) targets: Snapshot<TargetSeries>,
    pub(super) identities: Snapshot<IdentitySeries>,
    pub(super) clusters: Snapshot<ClusterSeries>,
    pub(super) shards: Snapshot<ShardSeries>,
}

/// Where a family comes from.
#[derive(Debug)]
enum Source {
    Registry(MetricFamily),
    SchedulerDelay,
    Targets(Definition, Write<TargetSeries>),
    Identities(Definition, Write<IdentitySeries>),
    Clusters(Definition, Write<ClusterSeries>),
    Shards(Definition, Write<ShardSeries>),
}

impl Source {
    fn name(&self) -> &str {
        match self {
            Self::Registry(family) => family.name(),
            Self::SchedulerDelay => definition::SCHEDULER_DELAY.name,
            Self::Targets(definition, _)
            | Self::Identities(definition, _)
            | Self::Clusters(definition, _)
            | Self::Shards(definition, _) => definition.name,
        }
    }
}

impl Exposition {
    pub(super) fn new(
        registered: Vec<MetricFamily>,
        scheduler_delay: Arc<Histogram>,
        owners: Snapshots,
    ) -> Self {
        let mut sources: Vec<Source> = registered.into_iter().map(Source::Registry).collect();
        sources.push(Source::SchedulerDelay);
        sources.extend(families(Source::Targets));
        sources.extend(families(Source::Identities));
        sources.extend(families(Source::Clusters));
        sources.extend(families(Source::Shards));
        sources.sort_unstable_by(|one, other| other.name().cmp(one.name()));
        Self { owners, scheduler_delay, sources, next: 0, begun: false, text: Vec::new(), read: 0 }
    }

    /// Appends the next owner's part of the last source, or all of a source without owners. Returns whether there may
    /// be more in it.
    fn write(&mut self) -> bool {
        let owner = self.next;
        self.next += 1;
        let (owners, begun, out) = (&self.owners, &mut self.begun, &mut self.text);
        match self.sources.last() {
            None => false,
            Some(Source::Registry(family)) => {
                TextEncoder::new()
                    .encode(std::slice::from_ref(family), out)
                    .expect("a gathered family is complete, and writing to a vector cannot fail");
                false
            }
            Some(Source::SchedulerDelay) => {
                let mut family = Family::new(definition::SCHEDULER_DELAY, begun, out);
                family.histogram(&[], &self.scheduler_delay);
                false
            }
            Some(Source::Targets(definition, write)) => {
                owners.targets.write(owner, *write, &mut Family::new(*definition, begun, out))
            }
            Some(Source::Identities(definition, write)) => {
                owners.identities.write(owner, *write, &mut Family::new(*definition, begun, out))
            }
            Some(Source::Clusters(definition, write)) => {
                owners.clusters.write(owner, *write, &mut Family::new(*definition, begun, out))
            }
            Some(Source::Shards(definition, write)) => {
                owners.shards.write(owner, *write, &mut Family::new(*definition, begun, out))
            }
        }
    }

    fn write_ahead(&mut self) {
        self.text.clear();
        self.read = 0;
        while self.text.len() < AHEAD && !self.sources.is_empty() {
            if !self.write() {
                self.sources.pop();
                (self.next, self.begun) = (0, false);
            }
        }
    }
}

/// Returns the families of one kind of owner.
fn families<S: Series>(source: fn(Definition, Write<S>) -> Source) -> impl Iterator<Item = Source> {
    S::FAMILIES.iter().map(move |(family, write)| source(*family, *write))
}

impl BufRead for Exposition {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.read >= self.text.len() {
            self.write_ahead();
        }
        Ok(&self.text[self.read..])
    }

    fn consume(&mut self, count: usize) {
        self.read += count;
    }
}

impl Read for Exposition {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(bytes)?;
        self.consume(count);
        Ok(count)
    }
}
