"""Sending transactions so that none is lost and none is sent twice.

What is to be sent stands in a journal (`journal`) before it is sent, signed; a queue per sender
(`queue`) gives out the nonces, sends, waits, and sends again what the chain does not have. After a
crash at any point the same bytes are sent again, never others under another nonce.

`opening.outbox_of` is where clients of contracts begin.
"""
