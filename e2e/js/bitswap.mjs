// A helia node over TCP, told what to do on standard input, one answer a line on standard output. A file of a size holds the bytes 0 to
// 250 over and over.
//   (at once)          {"address"}
//   add SIZE           {"cid"}
//   get CID ADDRESS    {"size", "right"}
import { createInterface } from 'node:readline'
import { withBitswap } from '@helia/bitswap'
import { withLibp2pLight } from '@helia/libp2p'
import { unixfs } from '@helia/unixfs'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { MemoryBlockstore } from 'blockstore-core'
import { createHeliaLight } from 'helia'
import { CID } from 'multiformats/cid'

const PERIOD = 251
const pattern = Uint8Array.from({ length: PERIOD * 4096 }, (_, i) => i % PERIOD)
const answer = (line) => console.log(JSON.stringify(line))

const helia = withBitswap(withLibp2pLight(createHeliaLight({ blockstore: new MemoryBlockstore() }), {
  addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [yamux()],
  services: { identify: identify() }
}))
await helia.start()
const files = unixfs(helia)
answer({ address: helia.libp2p.getMultiaddrs()[0].toString() })

function * patterned (size) {
  for (let at = 0; at < size; at += pattern.length) yield pattern.subarray(0, Math.min(pattern.length, size - at))
}

async function add (size) {
  answer({ cid: (await files.addByteStream(patterned(Number(size)))).toString() })
}

async function get (cid, address) {
  await helia.libp2p.dial(multiaddr(address))
  let [size, right] = [0, true]
  for await (const bytes of files.cat(CID.parse(cid))) {
    for (let at = 0; at < bytes.length && right; at += 1) right = bytes[at] === (size + at) % PERIOD
    size += bytes.length
  }
  answer({ size, right })
}

for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...words] = line.split(' ')
  await { add, get }[command](...words)
}
await helia.stop()
