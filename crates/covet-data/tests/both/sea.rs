//! Statements of `sea-query`, on either database.

use covet_data::sea_query::{Expr, ExprTrait as _, OnConflict, Order, Query};

use super::support::Fixture;

#[tokio::test]
async fn statements_built_piece_by_piece_run() {
    let fixture = Fixture::new().await;
    fixture.run("CREATE TABLE parts (id BIGINT PRIMARY KEY, name TEXT NOT NULL, price BIGINT)").await;
    let insert = |id: i64, name: &str, price: Option<i64>| {
        let mut query = Query::insert();
        query.into_table("parts").columns(["id", "name", "price"]).values_panic([id.into(), name.into(), price.into()]);
        query.on_conflict(OnConflict::column("id").update_column("name").to_owned()).returning_col("name").to_owned()
    };
    let no_value_is_in_the_text = "Robert'); DROP TABLE parts; --";
    for (id, name, price) in [(1, "a", Some(5)), (2, "b", None), (3, "c", Some(7)), (2, no_value_is_in_the_text, None)]
    {
        let (sql, params) = fixture.db.build(&insert(id, name, price));
        assert!(!sql.contains(name) || name.len() == 1, "{sql}");
        assert_eq!(fixture.db.write().one::<String>(&sql, params).await.unwrap(), name);
    }
    let mut select = Query::select();
    select.columns(["id", "name", "price"]).from("parts").and_where(Expr::col("id").is_in([1_i64, 2])).limit(5);
    let (sql, params) = fixture.db.build(select.order_by("id", Order::Desc));
    let rows: Vec<(i64, String, Option<i64>)> = fixture.db.read().all(&sql, params).await.unwrap();
    assert_eq!(rows, [(2, no_value_is_in_the_text.to_owned(), None), (1, "a".to_owned(), Some(5))]);

    let (sql, params) = fixture.db.build(Query::delete().from_table("parts").and_where(Expr::col("price").is_null()));
    assert_eq!(fixture.db.write().execute(&sql, params).await.unwrap(), 1);
}
