"""A W&B server as far as a run needs one: it takes history and files, and says how far a run is when it goes on."""

import gzip
import json
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HISTORY = "wandb-history.jsonl"


class FakeServer:
    """``runs[id]["wandb-history.jsonl"]`` are the lines that came, at the places where W&B said they belong."""

    def __init__(self):
        self.runs, self.states = defaultdict(lambda: defaultdict(dict)), {}
        self.uploaded = set()
        self.port = 0

    def start(self):
        server = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments):
                pass

            def do_POST(self):
                self._answer(server.post(self.path, self._body()))

            def do_PUT(self):
                self._body()
                server.uploaded.add(self.path)
                self._answer({})

            def _body(self):
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                return gzip.decompress(content) if self.headers.get("Content-Encoding") == "gzip" else content

            def _answer(self, value):
                content = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self):
        self._http.shutdown()
        self._http.server_close()

    def post(self, path, content):
        if path.endswith("/graphql"):
            request = json.loads(content)
            return {"data": self._query(request.get("operationName"), request.get("variables") or {})}
        if path.endswith("/file_stream"):
            run = path.split("/")[-2]
            told = json.loads(content)
            for name, part in (told.get("files") or {}).items():
                for number, line in enumerate(part["content"], part["offset"]):
                    self.runs[run][name][number] = line
            if told.get("complete"):
                self.states[run] = told["exitcode"]
        return {}

    def _query(self, name, variables):
        if name == "RunResumeStatus":
            run = variables["name"]
            return {"model": {"id": "p", "name": "p", "entity": ENTITY, "bucket": self._bucket(run)}}
        if name == "UpsertBucket":
            run = variables["name"]
            new = run not in self.runs
            lines = len(self.runs[run][HISTORY])
            project = {"id": "p", "name": variables["project"], "entity": ENTITY}
            bucket = {"id": run, "name": run, "displayName": run, "config": "{}", "project": project}
            return {"upsertBucket": {"bucket": {**bucket, "historyLineCount": lines}, "inserted": new}}
        if name == "CreateRunFiles":
            place = f"http://127.0.0.1:{self.port}/upload"
            files = [{"name": file, "uploadUrl": f"{place}/{file}"} for file in variables["files"]]
            return {"createRunFiles": {"runID": variables["run"], "uploadHeaders": [], "files": files}}
        return {}

    def _bucket(self, run):
        if run not in self.runs:
            return None
        history, events = self.lines(run), self.runs[run]["wandb-events.jsonl"]
        return {
            "id": run, "name": run, "displayName": run, "summaryMetrics": history[-1] if history else "{}",
            "logLineCount": 0, "historyLineCount": len(history), "eventsLineCount": len(events),
            "historyTail": json.dumps(history[-1:]), "eventsTail": json.dumps([]), "config": "{}", "tags": [],
            "notes": "", "wandbConfig": json.dumps({"t": 1}),
        }  # fmt: skip

    def lines(self, run):
        return [line for _, line in sorted(self.runs[run][HISTORY].items())]

    def history(self, run):
        """The rows of a run's history."""
        return [json.loads(line) for line in self.lines(run)]


ENTITY = {"id": "e", "name": "e"}
