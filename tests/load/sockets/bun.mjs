// A broadcast server with Bun's own publish and subscribe: every message goes to all clients. It prints its port.
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: 0,
  fetch: (request, server) => (server.upgrade(request) ? undefined : new Response('no upgrade', { status: 400 })),
  websocket: {
    perMessageDeflate: false,
    open: (socket) => socket.subscribe('room'),
    message: (socket, data) => server.publish('room', data),
  },
});
console.log(server.port);
