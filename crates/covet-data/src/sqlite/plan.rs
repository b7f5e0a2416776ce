//! How SQLite would run a statement: `EXPLAIN QUERY PLAN`, step below step.

use std::collections::HashMap;
use std::path::Path;

use super::{aside, translate};
use crate::Result;

pub(super) fn of(file: &Path, text: &str) -> Result<Vec<String>> {
    let connection = aside::open(file)?;
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {text}")).map_err(translate)?;
    let mut rows = statement.raw_query();
    let mut depths: HashMap<i64, usize> = HashMap::new();
    let mut plan = Vec::new();
    while let Some(row) = rows.next().map_err(translate)? {
        let step = (|| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(3)?)))();
        let (id, above, detail): (i64, i64, String) = step.map_err(translate)?;
        let depth = depths.get(&above).map_or(0, |depth| depth + 1);
        depths.insert(id, depth);
        plan.push(format!("{}{detail}", "  ".repeat(depth)));
    }
    Ok(plan)
}
