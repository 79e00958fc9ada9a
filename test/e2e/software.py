"""Real servers and clients inside pods of a world: PostgreSQL, redis, nginx, iperf3. Nothing here knows about the mesh."""
import os
import pathlib
import shutil

from world import wait_until

POSTGRES = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]


def home(pod, name):
    folder = pod.world.dir / f"{pod.namespace}.{pod.name}.{name}"
    folder.mkdir()
    return folder


def postgres(pod):
    """The server speaks first; trust authentication, since the mesh is what is shown."""
    data = home(pod, "postgres")
    shutil.chown(data, "postgres", "postgres")
    pod.run("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", POSTGRES / "initdb", "-A", "trust", "-N", "-U", "postgres",
            "--no-instructions", "-E", "UTF8", "--locale=C", data / "d", check=True, seconds=60)
    with open(data / "d" / "pg_hba.conf", "a", encoding="ascii") as hba:
        hba.write("host all all 0.0.0.0/0 trust\nhost all all ::/0 trust\n")
    pod.start("postgres", POSTGRES / "postgres", "-D", data / "d", "-k", data, "-h", "*", "-c", "fsync=off", "-c", "max_connections=60",
              "-c", "shared_buffers=32MB", user="postgres")
    wait_until("PostgreSQL", lambda: pod.run(POSTGRES / "pg_isready", "-h", "127.0.0.1").returncode == 0)


def redis(pod):
    pod.start("redis", "redis-server", "--save", "", "--protected-mode", "no", "--bind", "*", "-::*", "--dir", home(pod, "redis"))
    wait_until("redis", lambda: pod.run("redis-cli", "-h", "127.0.0.1", "ping").stdout.strip() == "PONG")


def nginx(pod, port=80):
    """Answers with its own name and with whom it believes to be talking to."""
    folder = home(pod, "nginx")
    (folder / "big").write_bytes(os.urandom(1 << 20) * 16)
    conf = folder / "nginx.conf"
    conf.write_text(f"""daemon off; error_log stderr; pid {folder}/pid; worker_processes 1; user root;
events {{ worker_connections 2000; }}
http {{ access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/e; scgi_temp_path {folder}/f; keepalive_timeout 600; keepalive_requests 1000000;
  server {{ listen {port}; listen [::]:{port};
    location / {{ default_type text/plain; return 200 "{pod.name} sees $remote_addr\\n"; }}
    location /big {{ root {folder}; }} }} }}
""")
    pod.start("nginx", "nginx", "-e", "stderr", "-c", conf)
    wait_until("nginx", lambda: pod.run("curl", "-sf", "-m", "2", f"http://127.0.0.1:{port}/").returncode == 0)


def iperf(pod):
    pod.start("iperf3", "iperf3", "-s")
    wait_until("iperf3", lambda: ":5201" in pod.run("ss", "-ltn").stdout)


def bracket(host):
    return f"[{host}]" if ":" in host else host


# One request of each kind; a non-empty text says what went wrong.
def ask_postgres(pod, host):
    done = pod.run("psql", "-h", host, "-U", "postgres", "-tAc", "select 6*7", seconds=10)
    return "" if done.stdout.strip() == "42" else done.stderr.strip() or f"answered {done.stdout!r}"


def ask_redis(pod, host):
    done = pod.run("redis-cli", "-h", host, "ping", seconds=10)
    return "" if done.stdout.strip() == "PONG" else done.stderr.strip() or done.stdout.strip() or "no answer"


def ask_nginx(pod, host, family=None, port=80):
    flag = {4: ["-4"], 6: ["-6"], None: []}[family]
    done = pod.run("curl", "-sS", "-m", "8", *flag, f"http://{bracket(host)}:{port}/", seconds=10)
    return "" if " sees " in done.stdout else done.stderr.strip() or done.stdout.strip() or "no answer"
