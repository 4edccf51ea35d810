//! Planned maintenance, as Azure announces and carries it out.
//!
//! Sources: `AzureRedisEvents.md` of the repository Azure/AzureCacheForRedis for the channel and its timeline, and the
//! documentation of the official clients of Redis ("smart client handoffs") for the pushes.

use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::cluster::ClusterHandle;
use super::front::{Admission, CacheHandle, Ending};

/// The times of the maintenance of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// From the first notice to the second, which says that maintenance is about to begin.
    pub ahead: Duration,
    /// From the second notice to the third, which says that it begins.
    pub starting: Duration,
    /// From the third notice until connections are closed.
    pub closing: Duration,
    /// From then until new ones are served.
    pub away: Duration,
    /// From then until the last notice.
    pub after: Duration,
}

impl Timeline {
    /// The timeline in Azure's documentation.
    pub const DOCUMENTED: Self = Self {
        ahead: Duration::from_secs(767),
        starting: Duration::from_secs(20),
        closing: Duration::from_secs(1),
        away: Duration::from_secs(9),
        after: Duration::from_secs(172),
    };

    /// A timeline that a demo has time for.
    pub const SHORT: Self = Self {
        ahead: Duration::from_secs(6),
        starting: Duration::from_secs(4),
        closing: Duration::from_secs(1),
        away: Duration::from_secs(3),
        after: Duration::from_secs(6),
    };

    /// Maintains the primary of Azure Cache for Redis.
    pub async fn play(self, cache: &CacheHandle) {
        let start = utc(cache.now() + self.ahead + self.starting);
        cache.announce("NodeMaintenanceScheduled", &start);
        sleep(self.ahead).await;
        cache.announce("NodeMaintenanceStarting", &start);
        sleep(self.starting).await;
        cache.announce("NodeMaintenanceStart", "");
        sleep(self.closing).await;
        cache.faults(|faults| faults.admission = Admission::Refuse);
        cache.close_all(Ending::Close);
        sleep(self.away).await;
        cache.faults(|faults| faults.admission = Admission::Serve);
        // Most clients are back by then.
        sleep(self.closing).await;
        cache.announce("NodeMaintenanceFailoverComplete", "");
        sleep(self.after).await;
        cache.announce("NodeMaintenanceEnded", "");
    }

    /// Maintains the primary of a shard of Azure Cache for Redis. Its replica takes over while it is away.
    pub async fn play_at(self, cluster: &ClusterHandle, shard: usize) {
        let (node, port) = (cluster.primary(shard), cluster.primary_port(shard));
        let start = utc(node.now() + self.ahead + self.starting);
        cluster.announce("NodeMaintenanceScheduled", &start, port);
        sleep(self.ahead).await;
        cluster.announce("NodeMaintenanceStarting", &start, port);
        sleep(self.starting).await;
        cluster.announce("NodeMaintenanceStart", "", port);
        sleep(self.closing).await;
        node.faults(|faults| faults.admission = Admission::Refuse);
        cluster.fail_over(shard);
        sleep(self.closing).await;
        cluster.announce("NodeMaintenanceFailoverComplete", "", port);
        sleep(self.away).await;
        node.faults(|faults| faults.admission = Admission::Serve);
        sleep(self.after).await;
        cluster.announce("NodeMaintenanceEnded", "", port);
    }

    /// Moves a shard and then the endpoint of Azure Managed Redis to `endpoint`; `None` leaves the endpoint to the
    /// clients. A client that follows the notices loses no connection.
    pub async fn hand_over(self, cache: &CacheHandle, endpoint: Option<&str>) {
        let seconds = self.starting.as_secs();
        cache.push(format!(">4\r\n$9\r\nMIGRATING\r\n:1\r\n:{seconds}\r\n$1\r\n1\r\n").as_bytes());
        sleep(self.closing).await;
        cache.push(b">3\r\n$8\r\nMIGRATED\r\n:2\r\n$1\r\n1\r\n");
        cache.push(format!(">4\r\n$12\r\nFAILING_OVER\r\n:3\r\n:{seconds}\r\n$1\r\n2\r\n").as_bytes());
        sleep(self.closing).await;
        cache.push(b">3\r\n$11\r\nFAILED_OVER\r\n:4\r\n$1\r\n2\r\n");
        let endpoint =
            endpoint.map_or("_\r\n".to_owned(), |endpoint| format!("${}\r\n{endpoint}\r\n", endpoint.len()));
        cache.push(format!(">4\r\n$6\r\nMOVING\r\n:5\r\n:{seconds}\r\n{endpoint}").as_bytes());
        sleep(self.starting).await;
        cache.close_older_than(self.starting / 2, Ending::Close);
    }
}

/// Returns a time as in Azure's notices: `2021-03-02T23:26:57`.
fn utc(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let (mut days, second) = (since / 86_400, since % 86_400);
    let is_leap = |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let mut year = 1970;
    while days >= 365 + u64::from(is_leap(year)) {
        days -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (month, day) = (month + 1, days + 1);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::tests::{cache_without_sockets, recorder};

    #[tokio::test(start_paused = true)]
    async fn the_maintenance_of_a_node_takes_place_as_documented() {
        let (events, _) = recorder();
        let cache = cache_without_sockets(events);
        let (mut frames, began) = (cache.frames(), Instant::now());
        let playing = tokio::spawn({
            let cache = cache.clone();
            async move { Timeline::DOCUMENTED.play(&cache).await }
        });
        for (kind, after) in [
            ("NodeMaintenanceScheduled", 0),
            ("NodeMaintenanceStarting", 767),
            ("NodeMaintenanceStart", 787),
            ("NodeMaintenanceFailoverComplete", 798),
            ("NodeMaintenanceEnded", 970),
        ] {
            let frame = String::from_utf8(frames.recv().await.unwrap().to_vec()).unwrap();
            assert!(frame.contains(&format!("NotificationType|{kind}|StartTimeInUTC|")), "{frame}");
            assert_eq!(began.elapsed().as_secs(), after, "{kind}");
            let is_away = cache.current_faults().admission == Admission::Refuse;
            assert!(!is_away, "it is away between two notices");
            if kind == "NodeMaintenanceStart" {
                sleep(Duration::from_secs(5)).await;
                assert_eq!(cache.current_faults().admission, Admission::Refuse);
            }
        }
        playing.await.unwrap();
    }

    #[test]
    fn a_time_is_written_as_azure_does() {
        for (seconds, written) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_614_727_617, "2021-03-02T23:26:57"),
            (1_735_689_599, "2024-12-31T23:59:59"),
        ] {
            assert_eq!(utc(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)), written);
        }
    }
}
