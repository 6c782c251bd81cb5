// A js-libp2p node for the tests. Its argument is {"listen": [...], "relay": bool}; it prints {"id", "addresses"}, then answers each line of standard
// input, {"do", ...}, with a line: {"ok": ...} or {"error": text}. Of what happens meanwhile it keeps what `heard` asks for.
import { createInterface } from 'node:readline'
import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { webSockets } from '@libp2p/websockets'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'

const ECHO = '/peerage/test/echo/1'
const { listen, relay } = JSON.parse(process.argv[2])

const node = await createLibp2p({
  addresses: { listen },
  transports: [tcp(), webSockets(), circuitRelayTransport()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  connectionGater: { denyDialMultiaddr: () => false },
  services: {
    identify: identify(),
    ping: ping(),
    pubsub: gossipsub(),
    dht: kadDHT({ protocol: '/ipfs/lan/kad/1.0.0', clientMode: false, peerInfoMapper: passthroughMapper }),
    ...(relay ? { relay: circuitRelayServer() } : {})
  }
})

await node.handle(ECHO, async stream => {
  for await (const chunk of stream) stream.send(chunk)
  await stream.close()
}, { runOnLimitedConnection: true })

const heard = []
const waiting = []
node.services.pubsub.addEventListener('message', ({ detail }) => {
  heard.push({ from: detail.from?.toString(), data: new TextDecoder().decode(detail.data) })
  waiting.splice(0).forEach(wake => wake())
})

const deeds = {
  dial: async ({ address }) => (await node.dial(multiaddr(address))).remotePeer.toString(),
  ping: ({ address }) => node.services.ping.ping(multiaddr(address)),
  protocols: async ({ address }) => {
    const { remotePeer } = await node.dial(multiaddr(address))
    return (await node.peerStore.get(remotePeer)).protocols
  },
  // Sends so many bytes and counts those that come back.
  echo: async ({ address, bytes }) => {
    const stream = await node.dialProtocol(multiaddr(address), ECHO, { runOnLimitedConnection: true })
    const sending = (async () => {
      const chunk = new Uint8Array(1 << 14).fill(7)
      for (let sent = 0; sent < bytes; sent += chunk.length) if (!stream.send(chunk.subarray(0, Math.min(chunk.length, bytes - sent)))) await stream.onDrain()
      await stream.close()
    })()
    let received = 0
    for await (const chunk of stream) received += chunk.byteLength
    await sending
    return received
  },
  provide: async ({ cid }) => { for await (const _ of node.services.dht.provide(CID.parse(cid))); return true },
  find: async ({ cid }) => {
    for await (const event of node.services.dht.findProviders(CID.parse(cid))) {
      if (event.providers?.length) return event.providers.map(({ id, multiaddrs }) => ({ id: id.toString(), addresses: multiaddrs.map(String) }))
    }
    return []
  },
  subscribe: ({ topic }) => { node.services.pubsub.subscribe(topic); return true },
  publish: async ({ topic, data }) => (await node.services.pubsub.publish(topic, new TextEncoder().encode(data))).recipients.length,
  heard: async () => { while (!heard.length) await new Promise(resolve => waiting.push(resolve)); return heard.shift() },
  addresses: () => node.getMultiaddrs().map(String)
}

console.log(JSON.stringify({ id: node.peerId.toString(), addresses: node.getMultiaddrs().map(String) }))
for await (const line of createInterface({ input: process.stdin })) {
  const deed = JSON.parse(line)
  try {
    console.log(JSON.stringify({ ok: await deeds[deed.do](deed) }))
  } catch (error) {
    console.log(JSON.stringify({ error: String(error?.message ?? error) }))
  }
}
await node.stop()
process.exit(0)
