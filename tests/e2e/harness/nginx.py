"""nginx as a real origin: its own configuration and directory, in the foreground, ended by its process id."""
import socket
import subprocess

from .poll import until
from .ports import free_port

CONFIGURATION = """
daemon off; master_process off; pid {directory}/pid; error_log {directory}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log {directory}/access.log; default_type application/octet-stream;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        {server}
    }}
}}
"""


class Nginx:
    def __init__(self, directory, root, server=""):
        self.directory, self.port = directory, free_port()
        configuration = directory / "nginx.conf"
        configuration.write_text(CONFIGURATION.format(directory=directory, port=self.port, root=root, server=server))
        self.process = subprocess.Popen(["nginx", "-p", str(directory), "-e", str(directory / "error.log"), "-c", str(configuration)])
        until(self._is_up, what="nginx")

    def _is_up(self):
        assert self.process.poll() is None, (self.directory / "error.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def requests(self):
        return (self.directory / "access.log").read_text().splitlines()

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
