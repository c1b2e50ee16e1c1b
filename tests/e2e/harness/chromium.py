"""A headless Chromium, spoken to over its debugging pipe (Chrome DevTools Protocol)."""
import base64
import json
import os
import select
import subprocess
import time

from harness.outrigger import SLOW


class Chromium:
    """One page. What it wrote to its console as an error, or threw, is in `errors`."""

    def __init__(self, directory, width=1200, height=900):
        read_commands, self.commands = os.pipe()
        self.answers, write_answers = os.pipe()

        def give_pipes():
            os.dup2(read_commands, 63)
            os.dup2(write_answers, 64)
            os.dup2(63, 3)
            os.dup2(64, 4)

        self.process = subprocess.Popen(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
                                         "--disable-background-networking", "--disable-component-update", f"--user-data-dir={directory}", f"--window-size={width},{height}",
                                         "--remote-debugging-pipe", "about:blank"],
                                        preexec_fn=give_pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        os.close(read_commands)
        os.close(write_answers)
        self.unread, self.number, self.errors, self.session = b"", 0, [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(domain + ".enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        os.close(self.commands)
        os.close(self.answers)

    def _receive(self, deadline):
        while b"\0" not in self.unread:
            ready, _, _ = select.select([self.answers], [], [], max(0, deadline - time.monotonic()))
            assert ready, "chromium does not answer"
            got = os.read(self.answers, 1 << 20)
            assert got, "chromium ended"
            self.unread += got
        message, self.unread = self.unread.split(b"\0", 1)
        return json.loads(message)

    def _note(self, message):
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(parameters["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.errors.append(parameters)
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.errors.append(parameters["entry"])

    def call(self, method, **parameters):
        self.number += 1
        deadline = time.monotonic() + 60 * SLOW
        message = {"id": self.number, "method": method, "params": parameters, **({"sessionId": self.session} if self.session else {})}
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive(deadline)).get("id") != self.number:
            self._note(answer)
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    def run(self, script):
        """The value of an expression, awaited where it is a promise."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, url):
        self.call("Page.navigate", url=url)

    def until(self, script, what=None, timeout=30):
        deadline = time.monotonic() + timeout * SLOW
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"{what or script}; errors: {self.errors}"
            time.sleep(0.05)
        return value

    def text(self, element):
        return self.run(f"document.getElementById({json.dumps(element)}).textContent")

    def resize(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def screenshot(self, path, whole=True):
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture["data"]))
