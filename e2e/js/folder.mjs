// The CID of a file or folder on disk as ipfs-unixfs-importer gives it: node folder.mjs PROFILE PATH
import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { BlackHoleBlockstore } from 'blockstore-core/black-hole'
import { importer } from 'ipfs-unixfs-importer'

const [profile, root] = process.argv.slice(2)

async function * walk (path, at) {
  const found = await stat(at)
  if (found.isFile()) return yield { path, content: createReadStream(at) }
  for (const name of await readdir(at)) yield * walk(path ? `${path}/${name}` : name, `${at}/${name}`)
}

const isFile = (await stat(root)).isFile()
let last
for await (const entry of importer(walk(isFile ? undefined : 'root', root), new BlackHoleBlockstore(), { profile })) last = entry
console.log(last.cid.toString())
