// A BullMQ worker process for jobs that do nothing: worker.mjs REDIS QUEUE CONCURRENCY
import { Worker } from 'bullmq';

const [url, queue, concurrency] = process.argv.slice(2);
const connection = { url, maxRetriesPerRequest: null };
const worker = new Worker(queue, async () => {}, { connection, concurrency: Number(concurrency) });
await worker.waitUntilReady();
console.log('ready');
