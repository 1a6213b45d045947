"""An HTTP service of a codec: pictures to bitstreams and back, by worker processes that a fault cannot outlive.

    client --HTTP--> app --places--> pool --one request at a time--> worker process: a codec, and the one before it
                                      ^
    source of the model --polled--> follower: starts workers with a new version, then exchanges all at once

It needs the extra `serve`: FastAPI, uvicorn and prometheus-client. The process that speaks HTTP decodes nothing.
"""
