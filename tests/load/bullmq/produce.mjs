// Adds jobs, waits for the last to complete, prints jobs per second: produce.mjs REDIS QUEUE JOBS
import { Queue } from 'bullmq';

const [url, name, wanted] = process.argv.slice(2);
const jobs = Number(wanted);
const batch = 500;
const queue = new Queue(name, { connection: { url } });
await queue.waitUntilReady();

const add = async (from, to) => {
  const list = [];
  for (let n = from; n < to; n++) list.push({ name: 'noop', data: { n } });
  await queue.addBulk(list);
};
const completed = async (n) => {
  while ((await queue.getCompletedCount()) < n) await new Promise((resolve) => setTimeout(resolve, 50));
};

// As for the other side: a small batch first.
await add(0, 100);
await completed(100);
const begun = performance.now();
for (let n = 0; n < jobs; n += batch) await add(n, Math.min(n + batch, jobs));
await completed(jobs + 100);
console.log((jobs / ((performance.now() - begun) / 1000)).toFixed(1));
await queue.obliterate({ force: true });
await queue.close();
