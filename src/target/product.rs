//! The products of Azure, by their host names in all clouds.

/// Azure Cache for Redis: the tiers Basic, Standard and Premium.
/// Source: the endpoint tables of Microsoft Learn and of `StackExchange.Redis`' Azure options providers.
const CACHE_FOR_REDIS: [&str; 5] = [
    ".redis.cache.windows.net",
    ".redis.cache.usgovcloudapi.net",
    ".redis.cache.chinacloudapi.cn",
    ".redis.cache.sovcloud-api.de",
    ".redis.cache.sovcloud-api.fr",
];

/// Azure Managed Redis and the Enterprise tiers of Azure Cache for Redis. The source is the same.
const MANAGED_REDIS: [&str; 6] = [
    ".redis.azure.net",
    ".redisenterprise.cache.azure.net",
    ".redis.usgovcloudapi.net",
    ".redis.chinacloudapi.cn",
    ".redis.sovcloud-api.de",
    ".redis.sovcloud-api.fr",
];

/// A product of Azure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// Azure Cache for Redis: the tiers Basic, Standard and Premium.
    CacheForRedis,
    /// Azure Managed Redis and the Enterprise tiers of Azure Cache for Redis.
    ManagedRedis,
}

impl Product {
    /// Returns the product with `host` as an endpoint. A name may lead to the other product after a migration.
    #[must_use]
    pub fn of_host(host: &str) -> Option<Self> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let is_in = |suffixes: &[&str]| suffixes.iter().any(|suffix| host.ends_with(suffix));
        if is_in(&CACHE_FOR_REDIS) {
            Some(Self::CacheForRedis)
        } else {
            is_in(&MANAGED_REDIS).then_some(Self::ManagedRedis)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_names_of_all_clouds_tell_the_product() {
        for (host, product) in [
            ("orders.redis.cache.windows.net", Some(Product::CacheForRedis)),
            ("Orders.Redis.Cache.Windows.Net.", Some(Product::CacheForRedis)),
            ("orders.redis.cache.usgovcloudapi.net", Some(Product::CacheForRedis)),
            ("orders.redis.cache.chinacloudapi.cn", Some(Product::CacheForRedis)),
            ("orders.redis.cache.sovcloud-api.de", Some(Product::CacheForRedis)),
            ("orders.redis.cache.sovcloud-api.fr", Some(Product::CacheForRedis)),
            ("orders.eastus.redis.azure.net", Some(Product::ManagedRedis)),
            ("orders.eastus.redisenterprise.cache.azure.net", Some(Product::ManagedRedis)),
            ("orders.eastus.redis.usgovcloudapi.net", Some(Product::ManagedRedis)),
            ("orders.eastus.redis.chinacloudapi.cn", Some(Product::ManagedRedis)),
            ("orders.eastus.redis.sovcloud-api.de", Some(Product::ManagedRedis)),
            ("orders.eastus.redis.sovcloud-api.fr", Some(Product::ManagedRedis)),
            ("redis.cache.windows.net", None),
            ("notredis.azure.net", None),
            ("orders.redis.azure.net.example.com", None),
            ("redis.example.com", None),
            ("10.0.0.4", None),
            ("::1", None),
        ] {
            assert_eq!(Product::of_host(host), product, "{host}");
        }
    }
}
