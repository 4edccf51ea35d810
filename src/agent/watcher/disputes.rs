//! Settles what sentinels do not agree on: finds out whether the primary is where one of them says, and asks those at no
//! post.

use std::convert::Infallible;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::{ASK, FIRST_PAUSE, Watcher};
use crate::connection::sentinel::Knowledge;

impl Watcher {
    /// Follows each rumour to the address that it names.
    pub(super) async fn follow_rumours(&self) -> Infallible {
        let mut knowledge = self.locator.knowledge();
        loop {
            if knowledge.wait_for(|knowledge| knowledge.rumour().is_some()).await.is_err() {
                // The sender lives in the locator.
                return std::future::pending().await;
            }
            self.locator.check_rumour().await;
            sleep(FIRST_PAUSE).await;
        }
    }

    /// Asks the sentinels at no post as well while those that answer name different addresses.
    pub(super) async fn ask_others(&self) -> Infallible {
        let mut knowledge = self.locator.knowledge();
        loop {
            if knowledge.wait_for(Knowledge::is_contested).await.is_err() {
                return std::future::pending().await;
            }
            let held = self.lock().held;
            let count = self.locator.sentinels().addresses.len();
            let others = (0..count).filter(|sentinel| !held.contains(&Some(*sentinel)));
            let mut asking: FuturesUnordered<_> = others
                .map(|sentinel| async move { (sentinel, timeout(ASK, self.ask_at_no_post(sentinel)).await) })
                .collect();
            while let Some((sentinel, asked)) = asking.next().await {
                if !matches!(asked, Ok(Ok(_))) {
                    self.locator.silent(sentinel);
                    debug!(target = %self.target, sentinel, "sentinel at no post not asked");
                }
            }
            sleep(ASK).await;
        }
    }
}
