# Varnish; its storage (malloc) and parameters are on the command line. A request with a cookie is looked up like one without.
vcl 4.1;
backend default {
    .host = "127.0.0.1";
    .port = "{origin}";
}
sub vcl_recv {
    unset req.http.Cookie;
}
