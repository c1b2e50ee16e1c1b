"""A program on a terminal of its own: what its screen shows, as text and as a picture. Knows the sequences that `outriggerctl top` uses (ECMA-48)."""
import fcntl
import os
import re
import struct
import subprocess
import termios
import threading
from xml.sax.saxutils import escape

from .poll import until

SEQUENCE = re.compile(rb"\x1b\[(\??)([\d;]*)([A-Za-z])")
CELL_WIDTH, CELL_HEIGHT, MARGIN = 8.4, 18, 12


class Terminal:
    def __init__(self, command, rows=30, columns=110):
        self.rows, self.columns = rows, columns
        self.control, terminal = os.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal)
        os.close(terminal)
        self.lock = threading.Lock()
        self.received = b""
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while True:
            try:
                data = os.read(self.control, 65536)
            except OSError:  # EIO: nobody has the other end any more
                return
            if not data:
                return
            with self.lock:
                self.received += data

    def press(self, key):
        os.write(self.control, key.encode())

    def cells(self):
        """Rows of (character, is reversed)."""
        with self.lock:
            data = self.received
        screen = [[(" ", False)] * self.columns for _ in range(self.rows)]
        row = column = at = 0
        is_reversed = False
        while at < len(data):
            sequence = SEQUENCE.match(data, at)
            if sequence:
                private, numbers, final = sequence.groups()
                at = sequence.end()
                if private:
                    continue
                if final == b"H":
                    row = column = 0
                elif final == b"m":
                    is_reversed = numbers == b"7"
                elif final == b"K":
                    screen[row][column:] = [(" ", False)] * (self.columns - column)
                elif final == b"J":
                    screen[row][column:] = [(" ", False)] * (self.columns - column)
                    screen[row + 1:] = [[(" ", False)] * self.columns for _ in range(self.rows - row - 1)]
                continue
            length = 1 if data[at] < 0x80 else 2 if data[at] < 0xe0 else 3 if data[at] < 0xf0 else 4
            character = data[at:at + length].decode(errors="replace")
            at += length
            if character == "\r":
                column = 0
            elif character == "\n":
                row = min(row + 1, self.rows - 1)
            elif character >= " " and column < self.columns:
                screen[row][column] = (character, is_reversed)
                column += 1
        return screen

    def text(self):
        return "\n".join("".join(character for character, _ in row).rstrip() for row in self.cells()).rstrip("\n")

    def until(self, part, timeout=30.0):
        """The screen's text, once `part` is on it."""
        return until(lambda: part in (text := self.text()) and text, timeout, f"{part!r} on the screen:\n{self.text()}")

    def svg(self):
        cells = self.cells()
        while len(cells) > 1 and all(character == " " for character, _ in cells[-1]):
            cells.pop()
        width, height = self.columns * CELL_WIDTH + 2 * MARGIN, len(cells) * CELL_HEIGHT + 2 * MARGIN
        lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
                 f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">', f'<rect width="{width:.0f}" height="{height:.0f}" rx="6" fill="#16191d"/>']
        for number, row in enumerate(cells):
            top = MARGIN + number * CELL_HEIGHT
            is_reversed = row[0][1]
            text = "".join(character for character, _ in row).rstrip()
            if is_reversed:
                lines.append(f'<rect x="{MARGIN}" y="{top}" width="{self.columns * CELL_WIDTH:.0f}" height="{CELL_HEIGHT}" fill="#c9d1d9"/>')
            if text:
                lines.append(f'<text x="{MARGIN}" y="{top + 14}" xml:space="preserve" textLength="{len(text) * CELL_WIDTH:.1f}" lengthAdjust="spacingAndGlyphs" '
                             f'fill="{"#16191d" if is_reversed else "#c9d1d9"}">{escape(text)}</text>')
        return "\n".join(lines + ["</svg>", ""])

    def end(self, timeout=30.0):
        """Waits for its end; its exit status."""
        status = self.process.wait(timeout)
        self.thread.join(timeout)
        os.close(self.control)
        return status

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.end()
