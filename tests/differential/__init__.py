"""What mailgw says of made-up mail, beside what others say of the same: dkimpy here, opendkim in ``tests/peers``.

    messages   messages as they come and as nobody would write them; what becomes of them on their way
    verdicts   whether signatures hold, by mailgw and by dkimpy; who signs

pyspf has its own in ``tests/trust/test_spf_oracle.py``.  ``MAILGW_DIFFERENTIAL`` says how many messages: a few in the
unit suite, a hundred in ``.ci/run``, ten thousand in ``.ci/full``.
"""
