# Varnish; its storage (-s file) and parameters are on the command line.
vcl 4.1;
backend default {
    .host = "127.0.0.1";
    .port = "{origin}";
}
