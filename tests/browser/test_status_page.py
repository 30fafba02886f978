"""The status page against what the service says of itself."""


def test_it_tells_what_is_served_and_how_busy_the_service_is(open_page, web_shop) -> None:
    for number in (1, 2, 3):
        web_shop.similar(f"watch-{number:04d}")
    told = web_shop.ask("/v1/status")
    page = open_page("/status")
    page.wait_for_selector("table")
    served = page.locator("#served").inner_text()
    assert told["snapshot_id"] in served
    assert f"\n{told['items']}\n" in served
    assert told["backbone"] in served
    assert "ago" in served
    rows = page.locator("tbody th").all_inner_texts()
    assert rows == [one["category"] for one in told["categories"]]
    load = page.locator("#load .tile")
    assert load.count() == 4
    assert load.nth(1).inner_text().split("\n")[1].endswith(" ms")


def test_quantiles_of_the_load_are_those_of_prometheus(open_page) -> None:
    found = open_page("/status").evaluate(
        """async () => {
          const { quantile, searches, between } = await import('/web/load.js');
          const reading = (low, all, route) => [
            `parecido_requests_total{method="POST",route="${route}",status="200"} ${all - 1}.0`,
            `parecido_requests_total{method="POST",route="${route}",status="503"} 1.0`,
            `parecido_request_seconds_bucket{le="0.01",route="${route}"} ${low}.0`,
            `parecido_request_seconds_bucket{le="0.025",route="${route}"} ${all}.0`,
            `parecido_request_seconds_bucket{le="+Inf",route="${route}"} ${all}.0`,
          ].join("\\n");
          const before = searches(reading(10, 20, "/v1/search"));
          const after = searches(reading(20, 40, "/v1/search") + "\\n" + reading(5, 9, "/healthz"));
          const lately = between(before, after);
          return [lately.answered, after.rejected, quantile(lately.within, 0.5), quantile(lately.within, 0.95)];
        }"""
    )
    assert found == [20, 1, 0.01, 0.0235]
