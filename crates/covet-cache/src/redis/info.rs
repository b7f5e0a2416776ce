//! [`Info`]: what a server tells about itself.

/// What Redis tells about itself. Of masters only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// Keys in the database.
    pub keys: u64,
    /// Memory that it takes in all, in bytes: `used_memory`.
    pub used_memory_bytes: u64,
    /// Memory of what is kept, in bytes: `used_memory_dataset`.
    pub dataset_bytes: u64,
    /// Memory that it may take, in bytes; 0: no limit.
    pub max_memory_bytes: u64,
    /// Keys given up to make room: `evicted_keys`.
    pub evicted_keys: u64,
    /// Reads that found a key.
    pub keyspace_hits: u64,
    /// Reads that found none.
    pub keyspace_misses: u64,
    /// `run_id`: another one after a restart, when the counts begin again.
    pub run_id: String,
}

impl Info {
    /// Reads the answer to `INFO`, of this database.
    pub(super) fn parse(answer: &str, database: u16) -> Self {
        let of_database = format!("db{database}");
        let mut info = Self::default();
        for (name, value) in answer.lines().filter_map(|line| line.split_once(':')) {
            let number = || value.trim().parse().unwrap_or_default();
            match name {
                "used_memory" => info.used_memory_bytes = number(),
                "used_memory_dataset" => info.dataset_bytes = number(),
                "maxmemory" => info.max_memory_bytes = number(),
                "evicted_keys" => info.evicted_keys = number(),
                "keyspace_hits" => info.keyspace_hits = number(),
                "keyspace_misses" => info.keyspace_misses = number(),
                "run_id" => value.trim().clone_into(&mut info.run_id),
                // `db0:keys=2,expires=1,avg_ttl=…`
                name if name == of_database => {
                    let keys = value.split(',').find_map(|part| part.strip_prefix("keys="));
                    info.keys = keys.and_then(|keys| keys.parse().ok()).unwrap_or_default();
                }
                _ => {}
            }
        }
        info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_read_and_other_databases_do_not_count() {
        let answer = "# Server\r\nrun_id:abc\r\n# Memory\r\nused_memory:1000\r\nused_memory_dataset:400\r\nmaxmemory:0\r\n\
                      # Stats\r\nevicted_keys:3\r\nkeyspace_hits:5\r\nkeyspace_misses:7\r\n\
                      # Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=0\r\ndb1:keys=9,expires=0,avg_ttl=0\r\n";
        let expected = Info {
            keys: 2,
            used_memory_bytes: 1000,
            dataset_bytes: 400,
            max_memory_bytes: 0,
            evicted_keys: 3,
            keyspace_hits: 5,
            keyspace_misses: 7,
            run_id: "abc".to_owned(),
        };
        assert_eq!(Info::parse(answer, 0), expected);
        assert_eq!(Info::parse(answer, 1).keys, 9);
        assert_eq!(Info::parse(answer, 2).keys, 0);
    }
}
