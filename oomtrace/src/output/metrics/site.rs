//! The pages of the endpoint.

use super::{
    Metrics,
    accept::negotiate,
    http::{Page, Pages},
};

/// See the module.
pub struct Site(pub Metrics);

const PLAIN: &str = "text/plain; charset=utf-8";
const INDEX: &str = "<!DOCTYPE html>
<html lang=\"en\"><head><title>oomtrace</title></head><body><h1>oomtrace</h1><ul>
<li><a href=\"/metrics\">/metrics</a>: what happened, counted, for Prometheus</li>
<li><a href=\"/healthz\">/healthz</a>: the agent runs</li>
<li><a href=\"/readyz\">/readyz</a>: it traces</li>
</ul></body></html>
";

impl Pages for Site {
    fn page(&self, path: &str, accept: Option<&str>) -> Page {
        match path {
            "/metrics" => {
                let form = negotiate(accept);
                Page::ok(form.content_type(), form.render(&self.0.gather()))
            }
            "/healthz" => Page::ok(PLAIN, "alive\n"),
            "/readyz" if self.0.armed() => Page::ok(PLAIN, "armed\n"),
            "/readyz" => Page { status: 503, content_type: PLAIN, body: "not armed\n".into() },
            "/" => Page::ok("text/html; charset=utf-8", INDEX),
            _ => Page::text(404, "There is no such page. There are /metrics, /healthz and /readyz.\n"),
        }
    }
}
