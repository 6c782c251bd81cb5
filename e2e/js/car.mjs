// CARs for the tests of ground/dag.
//   car.mjs pack LAYOUT     standard input: lines {"path", "text"}; standard output: a CAR of their directory, sharded above 1000 bytes; files
//                           of more than 50 bytes are laid out balanced or trickle
//   car.mjs cat PATH...     standard input: a CAR; standard output: one line a path below its root, {"path", "text"} or {"path", "names"}
import { CarReader, CarWriter } from '@ipld/car'
import { MemoryBlockstore } from 'blockstore-core'
import { exporter } from 'ipfs-unixfs-exporter'
import { importer } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced, trickle } from 'ipfs-unixfs-importer/layout'
import { text } from 'node:stream/consumers'

// The store of the package forgets codecs.
class Store extends MemoryBlockstore {
  blocks = []
  put (cid, bytes) {
    this.blocks.push({ cid, bytes })
    return super.put(cid, bytes)
  }
}

const [command, ...rest] = process.argv.slice(2)

async function bytesOf (parts) {
  const all = []
  for await (const part of parts) all.push(part)
  return Buffer.concat(all)
}

async function pack ([layout]) {
  const files = (await text(process.stdin)).split('\n').filter(Boolean).map(line => JSON.parse(line))
  const source = files.map(({ path, text }) => ({ path, content: new TextEncoder().encode(text) }))
  const store = new Store()
  let root
  const entries = importer(source, store, {
    wrapWithDirectory: true,
    shardSplitThresholdBytes: 1000,
    chunker: fixedSize({ chunkSize: 50 }),
    layout: { balanced, trickle }[layout]({ maxChildrenPerNode: 3 })
  })
  for await (const entry of entries) root = entry.cid
  const { writer, out } = CarWriter.create([root])
  const written = bytesOf(out)
  for (const block of store.blocks) await writer.put(block)
  await writer.close()
  process.stdout.write(await written)
}

async function cat (paths) {
  const reader = await CarReader.fromIterable(process.stdin)
  const store = new MemoryBlockstore()
  for await (const { cid, bytes } of reader.blocks()) await store.put(cid, bytes)
  const [root] = await reader.getRoots()
  for (const path of paths) {
    const entry = await exporter(`${root}/${path}`, store)
    const directory = entry.type === 'directory'
    if (!directory) {
      console.log(JSON.stringify({ path, text: (await bytesOf(entry.content())).toString() }))
      continue
    }
    const names = []
    for await (const { name } of entry.entries()) names.push(name)
    console.log(JSON.stringify({ path, names }))
  }
}

await { pack, cat }[command](rest)
