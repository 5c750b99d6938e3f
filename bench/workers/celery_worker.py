"""No-op jobs for Celery on Redis: a module to serve, and a program that enqueues them."""

from celery import Celery

from bench.workers.counting import COUNT, URL, Counting

app = Celery("bench", broker=URL)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=100, worker_hijack_root_logger=False)
counting = Counting()


@app.task(name="noop")
def noop(number: int) -> None:
    counting.done()


if __name__ == "__main__":
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(COUNT):
            noop.apply_async((number,), producer=producer)
